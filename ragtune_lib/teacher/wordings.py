"""Is a new question only another wording of one that has been asked? For held-out questions, which must not be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ragtune_lib.checks import Embed, embed_once, nearest, ngrams
from ragtune_lib.text import normalize


class Wordings:
    """Questions that have been asked, each held once.

    The measures are those of `checks.leak_flags`, with the n-grams taken in both directions: a question that is fresh
    here leaks into none of the known ones, and none of them into it.

    Args:
        texts: the known questions.
        embed: see `checks.check_pairs`.
        similarity: cosine in [-1, 1] from which two questions are one.
        ngram: share in (0, 1] of either question's word 4-grams from which they are one.
    """

    def __init__(self, texts: Sequence[str], embed: Embed, similarity: float = 0.9, ngram: float = 0.6):
        self.embed, self.similarity, self.ngram = embed, similarity, ngram
        known = sorted(set(texts))
        self.vectors = embed(known) if known else None
        self.worded = _Worded()
        for text in known:
            self.worded.add(text)

    def fresh(self, texts: Sequence[str]) -> list[str]:
        """Why each text is no new question, "" where it is one.

        Each is compared with the known questions and with those before it in `texts` that are new.
        """
        vectors = embed_once(self.embed, texts)
        rows = [vectors[text] for text in texts]
        known = nearest(rows, self.vectors) if self.vectors is not None else [(-1, -1.0)] * len(rows)
        earlier, kept, found = _Worded(), [], []
        for text, row, (_, cosine) in zip(texts, rows, known, strict=True):
            cosine = max([cosine, *(float(vector @ row) for vector in kept)])
            share = max(self.worded.share(text), earlier.share(text))
            if normalize(text) in self.worded.exact or normalize(text) in earlier.exact:
                found.append("the same words")
            elif share >= self.ngram:
                found.append(f"{share:.0%} of the word 4-grams")
            elif cosine >= self.similarity:
                found.append(f"cosine {cosine:.2f}")
            else:
                found.append("")
                earlier.add(text)
                kept.append(row)
        return found


class _Worded:
    """Texts by their words: normalised as a whole, and their 4-grams."""

    def __init__(self):
        self.exact: set[str] = set()
        self.sizes: list[int] = []  # 4-grams of each text
        self.holders: dict[tuple[str, ...], list[int]] = defaultdict(list)

    def add(self, text: str) -> None:
        self.exact.add(normalize(text))
        grams = ngrams(text)
        for gram in grams:
            self.holders[gram].append(len(self.sizes))
        self.sizes.append(len(grams))

    def share(self, text: str) -> float:
        """Largest share of 4-grams that the text has in common with one of these, counted in the shorter of both."""
        own, counts = ngrams(text), defaultdict(int)
        for gram in own:
            for index in self.holders.get(gram, ()):
                counts[index] += 1
        return max((count / min(len(own), self.sizes[index]) for index, count in counts.items()), default=0.0)
