"""Retrieval: which chunks a system reads before it answers, by words, by meaning, or by both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from ragtune_lib.records import Chunk
from ragtune_lib.text import STOPWORDS, normalize

if TYPE_CHECKING:
    import bm25s
    import numpy as np

Kind = Literal["bm25", "dense", "hybrid"]
KINDS: tuple[Kind, ...] = ("bm25", "dense", "hybrid")
FUSION_K = 60  # the constant of reciprocal rank fusion, as in its paper


class Retriever:
    """Rank all chunks of a corpus for a question.

    - "bm25": BM25 over normalised words without stop words (`bm25s` with its defaults, k1 = 1.5 and b = 0.75).
    - "dense": cosine of the embeddings of question and chunk.
    - "hybrid": both rankings joined by reciprocal rank fusion, score = sum over rankings of 1 / (60 + rank), rank from
      1. Source: Cormack, Clarke and Buettcher 2009, doi:10.1145/1571941.1572114.

    Equal scores keep the order of `chunks`, so a question without any known word still gets the first chunks. A corpus
    of a workbench is searched exactly; no approximate index is needed up to some 100,000 chunks.

    Args:
        chunks: what can be found, not empty.
        embed: texts to a float32 array (n, d), rows of length 1; not called for "bm25".
        kind: one of `KINDS`.

    Raises:
        ValueError: if there are no chunks or the kind is unknown.
    """

    def __init__(self, chunks: Sequence[Chunk], embed: Callable[[Sequence[str]], np.ndarray] | None, kind: Kind):
        if kind not in KINDS:
            raise ValueError(f"retriever {kind!r}: choose one of {', '.join(KINDS)}")
        if not chunks:
            raise ValueError("nothing to retrieve from: there are no chunks")
        if kind != "bm25" and embed is None:
            raise ValueError(f"retriever {kind!r} needs an embedder")
        self.chunks = tuple(chunks)
        self.kind = kind
        self.embed = embed
        texts = [chunk.text for chunk in chunks]
        self.word_index = _word_index(texts) if kind != "dense" else None
        self.vectors = embed(texts) if kind != "bm25" else None

    def top(self, questions: Sequence[str], k: int) -> list[list[Chunk]]:
        """The `k` best chunks for each question, best first; all chunks when there are fewer than `k`.

        Raises:
            ValueError: if `k` is below 1.
        """
        if k < 1:
            raise ValueError(f"top-k must be at least 1, got {k}")
        if not questions:
            return []
        scores = self._scores(questions)
        return [[self.chunks[place] for place in row[:k]] for row in _order(scores)]

    def _scores(self, questions: Sequence[str]) -> np.ndarray:
        """Scores of shape (questions, chunks), higher is better."""
        if self.kind == "bm25":
            return self._word_scores(questions)
        dense = self.embed(list(questions)) @ self.vectors.T
        if self.kind == "dense":
            return dense
        return _reciprocal_ranks(self._word_scores(questions)) + _reciprocal_ranks(dense)

    def _word_scores(self, questions: Sequence[str]) -> np.ndarray:
        import numpy as np

        scores = np.zeros((len(questions), len(self.chunks)), dtype=np.float32)
        if self.word_index is None:  # no chunk holds a word
            return scores
        for row, question in enumerate(questions):
            known = [word for word in _search_words(question) if word in self.word_index.vocab_dict]
            if known:
                scores[row] = self.word_index.get_scores(known)
        return scores


def _search_words(text: str) -> list[str]:
    return [word for word in normalize(text).split() if word not in STOPWORDS]


def _word_index(texts: Sequence[str]) -> bm25s.BM25 | None:
    import bm25s

    tokens = [_search_words(text) for text in texts]
    if not any(tokens):
        return None
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    return index


def _order(scores: np.ndarray) -> np.ndarray:
    """Column places by falling score, row by row; equal scores stay in order."""
    import numpy as np

    return np.argsort(-scores, axis=1, kind="stable")


def _reciprocal_ranks(scores: np.ndarray) -> np.ndarray:
    import numpy as np

    ranks = np.argsort(_order(scores), axis=1, kind="stable") + 1
    return 1.0 / (FUSION_K + ranks)


def recall_at_k(retrieved: Sequence[Chunk], evidence: Sequence[str], names: Mapping[str, str] | None = None) -> float:
    """Share of a question's evidence that is among the retrieved chunks, in [0, 1]; nan without evidence.

    Args:
        retrieved: the k chunks that were found.
        evidence: chunk ids, or document names without suffix (a chunk of that document then counts).
        names: document id to document name without suffix; needed when the evidence is named by document.
    """
    wanted = set(evidence)
    if not wanted:
        return float("nan")
    found = {chunk.id for chunk in retrieved} | {(names or {}).get(chunk.document_id, "") for chunk in retrieved}
    return len(wanted & found) / len(wanted)
