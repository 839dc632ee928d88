"""The systems compared, over the same questions: same base model, no instruction on length, same token limit.

| system | what stands before the question | weights |
| --- | --- | --- |
| base | nothing | untuned |
| vanilla_rag | retrieved chunks | untuned |
| long_context | the whole corpus, read once | untuned |
| rag_tuned | nothing; the best of several recitals, or several of them (`recite`) | tuned |
| rag_tuned_rag | the same retrieved chunks | tuned |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragtune_lib.generate import Prefix, generate
from ragtune_lib.models import chat_prompt
from ragtune_lib.recite import METHOD, answer_by_reciting
from ragtune_lib.records import Answer, Chunk, Document, Example, QAPair, Question
from ragtune_lib.retrieve import KINDS, Retriever
from ragtune_lib.store import Cache, content_id, file_hash
from ragtune_lib.text import contains, content_words, normalize, spoken_date
from ragtune_lib.training_set import AFTER_CUES, without_cues, without_thought

SYSTEMS = ("base", "vanilla_rag", "long_context", "rag_tuned", "rag_tuned_rag")
FROM_TEXT = "Read this text:\n\n{context}\n\nAnswer from the text: {question}"
HERE = "<<the question stands here>>"  # marks the place in the prompt where the shared part ends


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """How VanillaRAG retrieves and asks; chosen on validation questions."""

    retriever: str  # one of retrieve.KINDS
    chunk_tokens: int  # size of a chunk at most
    top_k: int


def with_context(chunks: Sequence[Chunk], question: str) -> str:
    """The user's turn of a retrieval system: chunks in date order, each with its date, then the question."""
    ordered = sorted(chunks, key=lambda chunk: (chunk.date, chunk.document_id, chunk.start))
    told = "\n\n".join(f"{spoken_date(chunk.date)}\n{chunk.text.strip()}".strip() for chunk in ordered)
    return FROM_TEXT.format(context=told, question=question)


class Reader:
    """One set of weights that answers questions; answers that the cache holds are not made again.

    Args:
        model: a causal language model, tuned or not.
        tokenizer: its tokenizer.
        weights: what tells the weights apart in the cache: a name, or the folder of the adapter.
        max_new_tokens: longest answer, the same for every system.
        cache: finished answers; each batch is stored as soon as it is done.
    """

    def __init__(self, model: Any, tokenizer: Any, weights: str | Path, max_new_tokens: int, cache: Cache):
        self.model, self.tokenizer, self.max_new_tokens, self.cache = model, tokenizer, max_new_tokens, cache
        adapter = weights / "adapter_model.safetensors" if isinstance(weights, Path) else None
        self.key = (model.config.name_or_path.rsplit("/", 1)[-1], file_hash(adapter) if adapter else weights)

    def answer(
        self, questions: Sequence[Question], system: str, contexts: Sequence[Sequence[Chunk]] | None = None
    ) -> list[Answer]:
        """Answer all questions, closed book or from the given chunks (best first, one list per question)."""
        contexts = contexts if contexts is not None else [()] * len(questions)
        asked = [with_context(c, q.question) if c else q.question for q, c in zip(questions, contexts, strict=True)]
        prompts = [chat_prompt(self.tokenizer, text) for text in asked]
        keys = [content_id(self.key, prompt, self.max_new_tokens) for prompt in prompts]
        todo = [at for at, key in enumerate(keys) if key not in self.cache]
        sizes = [self._count(prompts[at]) for at in todo]

        def store(group: list[int], texts: list[str], counts: list[int], seconds: float) -> None:
            for at, text, count in zip(group, texts, counts, strict=True):
                self._store(keys[todo[at]], without_thought(without_cues(text)), sizes[at], count, seconds / len(group))

        generate(
            self.model, self.tokenizer, [prompts[at] for at in todo], self.max_new_tokens, label=system, done=store
        )
        return [
            Answer(question.id, system, context_ids=tuple(chunk.id for chunk in chunks), **self.cache.get(key))
            for question, chunks, key in zip(questions, contexts, keys, strict=True)
        ]

    def answer_from_memory(
        self, questions: Sequence[Question], base: Any, recitations: int, examples: Sequence[Example]
    ) -> list[Answer]:
        """Answer closed book by the best of several recitals, or several of them (`recite`), as system "rag_tuned".

        Args:
            questions: to be answered.
            base: the untuned model, which judges how well a question fits a recital.
            recitations: most recitals per question; their tokens all count as output.
            examples: what the model was trained on; says whether it has learnt to begin with a mark.
        """
        marks = any(AFTER_CUES in example.target for example in examples)
        key = (self.key, "recite", METHOD, marks, recitations, self.max_new_tokens)
        keys = [content_id(key, question.question) for question in questions]
        todo = [at for at, key in enumerate(keys) if key not in self.cache]
        started = time.perf_counter()

        def store(group: list[int], texts: list[str], counts: list[int]) -> None:
            nonlocal started
            seconds, started = (time.perf_counter() - started) / len(group), time.perf_counter()
            for at, text, count in zip(group, texts, counts, strict=True):
                size = self._count(chat_prompt(self.tokenizer, questions[todo[at]].question))
                self._store(keys[todo[at]], text, size, count, seconds)

        asked = [questions[at].question for at in todo]
        answer_by_reciting(
            self.model, base, self.tokenizer, asked, recitations, self.max_new_tokens, done=store, marks=marks
        )
        found = zip(questions, keys, strict=True)
        return [Answer(q.id, "rag_tuned", context_ids=(), **self.cache.get(key)) for q, key in found]

    def answer_from_all(
        self, questions: Sequence[Question], documents: Sequence[Document], batch_tokens: int = 6_000
    ) -> tuple[list[Answer], dict[str, int]]:
        """Answer all questions with the whole corpus before each, read once for all of them.

        When the corpus is longer than the window, the latest documents that fit are used.

        Args:
            questions: to be answered.
            documents: the corpus, in order.
            batch_tokens: question and answer tokens of a batch; bounds the memory.

        Returns:
            Answers of system "long_context", and how the corpus fits: corpus_tokens, window, used_tokens, documents,
            used_documents.
        """
        longest = max((self._count(question.question) for question in questions), default=0)
        window = self.model.config.max_position_embeddings
        told, fit = fit_documents(documents, self.tokenizer, window - self.max_new_tokens - longest - 64)
        whole = chat_prompt(self.tokenizer, FROM_TEXT.format(context=told, question=HERE))
        head, tail = whole.rsplit(HERE, 1)
        blank = head[len(head.rstrip()) :]  # belongs to the question: " Who" is one token, " " and "Who" are two
        head = head.rstrip()
        asked = [blank + question.question + tail for question in questions]
        keys = [content_id(self.key, head, question.question, self.max_new_tokens) for question in questions]
        todo = [at for at, key in enumerate(keys) if key not in self.cache]
        if todo:
            prefix = Prefix(self.model, self.tokenizer, head)
            sizes = [prefix.length + self._count(asked[at]) for at in todo]

            def store(group: list[int], texts: list[str], counts: list[int], seconds: float) -> None:
                each = seconds / len(group) + prefix.seconds / len(todo)
                for at, text, count in zip(group, texts, counts, strict=True):
                    self._store(keys[todo[at]], without_thought(text), sizes[at], count, each)

            generate(
                self.model,
                self.tokenizer,
                [asked[at] for at in todo],
                self.max_new_tokens,
                batch_tokens=batch_tokens,
                label="long_context",
                done=store,
                prefix=prefix,
            )
        found = zip(questions, keys, strict=True)
        return [Answer(q.id, "long_context", context_ids=(), **self.cache.get(key)) for q, key in found], {
            **fit,
            "window": window,
        }

    def _count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _store(self, key: str, text: str, prompt_tokens: int, output_tokens: int, seconds: float) -> None:
        row = {"text": text, "prompt_tokens": prompt_tokens, "output_tokens": output_tokens}
        self.cache.put(key, {**row, "seconds": round(seconds, 4)})


def fit_documents(documents: Sequence[Document], tokenizer: Any, room: int) -> tuple[str, dict[str, int]]:
    """The corpus as one text of at most `room` tokens; where it is longer, its latest documents that fit.

    A single document longer than the room gives its last part, cut at a token.
    """
    sizes = [len(tokenizer(document.text, add_special_tokens=False)["input_ids"]) + 2 for document in documents]
    used, first = 0, len(documents)
    while first > 0 and used + sizes[first - 1] <= room:
        first -= 1
        used += sizes[first]
    told = "\n\n".join(document.text.strip() for document in documents[first:])
    if first == len(documents) and documents:
        ids = tokenizer(documents[-1].text, add_special_tokens=False)["input_ids"]
        ids = ids[max(0, len(ids) - room) :]
        told, used = tokenizer.decode(ids), len(ids)
    fit = {
        "corpus_tokens": sum(sizes),
        "used_tokens": used,
        "documents": len(documents),
        "used_documents": max(len(documents) - first, int(used > 0)),
    }
    return told, fit


def validation_questions(examples: Iterable[Example], pairs: Iterable[QAPair], count: int) -> list[Question]:
    """Questions for choosing VanillaRAG's settings: wordings held out from training, never the held-out questions.

    Where too few wordings are held out, as with a teacher that words each fact once, trained local ones fill up: the
    untuned model that reads has learnt none of them.

    Args:
        examples: of both splits.
        pairs: the pairs behind them.
        count: how many at most; a third of them global where there are enough.
    """
    by_id = {pair.id: pair for pair in pairs}
    found: dict[str, list[Question]] = {"local": [], "global": [], "trained": []}
    for example in sorted(examples, key=lambda example: example.id):
        pair = by_id[example.pair_id]
        group = pair.scope if example.split == "validation" else "trained" if pair.scope == "local" else ""
        if group and pair.kind != "absent":
            made = Question(example.id, pair.scope, pair.question, pair.answer, ((pair.answer,),), pair.evidence_ids)
            found[group].append(made)
    wide = found["global"][: count // 3]
    return (found["local"] + found["trained"])[: count - len(wide)] + wide


def answer_value(question: Question, text: str) -> float:
    """Share of a validation answer that a text states, in [0, 1]: the span, or the telling words of a long answer."""
    wanted = question.facts[0][0]
    if len(wanted.split()) <= 6:
        return float(contains(normalize(text), wanted))
    telling = content_words(wanted) - content_words(question.question)
    return len(telling & content_words(text)) / len(telling) if telling else 0.0


def tune_retrieval(
    questions: Sequence[Question],
    chunkings: Mapping[int, Sequence[Chunk]],
    origin: Mapping[str, str],
    embed: Callable,
    reader: Reader,
    top_ks: Sequence[int] = (1, 3, 5),
) -> tuple[RetrievalSettings, list[dict[str, Any]]]:
    """Choose VanillaRAG's retriever, chunk size and top-k on validation questions.

    First the retriever per chunk size, by recall of the right document within as many chunks as are read at most
    (costs no model call); then chunk size and top-k by what the model answers with them.

    Args:
        questions: validation questions.
        chunkings: chunks by their size in tokens.
        origin: document id of each evidence chunk that questions name.
        embed: sentence encoder.
        reader: the untuned model.
        top_ks: numbers of chunks to try.

    Returns:
        The best settings (ties: fewer tokens), and one row per setting tried: retriever, chunk_tokens, top_k, value
        (mean of `answer_value`), recall, n.
    """
    if not any(chunkings.values()):
        raise ValueError("no chunk to retrieve: run 01_documents first")
    asked = [question.question for question in questions]
    wanted = [{origin[chunk] for chunk in question.evidence} for question in questions]
    tried = []
    for size, chunks in sorted(chunkings.items()):
        found = {kind: Retriever(chunks, embed, kind).top(asked, max(top_ks)) for kind in KINDS}
        best = max(KINDS, key=lambda kind: (_document_recall(wanted, found[kind]), -KINDS.index(kind)))
        tried += [(best, size, top_k, [chunks[:top_k] for chunks in found[best]]) for top_k in top_ks]
    # all settings at once: rows of like length share their batches, whatever setting they are of
    read = [chunks for *_, contexts in tried for chunks in contexts]
    answers = iter(reader.answer(list(questions) * len(tried), "vanilla_rag", read))
    rows = []
    for best, size, top_k, contexts in tried:
        values = [answer_value(question, next(answers).text) for question in questions]
        value, recall = sum(values) / max(1, len(values)), _document_recall(wanted, contexts)
        row = {"retriever": best, "chunk_tokens": size, "top_k": top_k, "value": round(value, 4)}
        rows.append({**row, "recall": round(recall, 4), "n": len(questions)})
    chosen = max(rows, key=lambda row: (row["value"], row["recall"], -row["top_k"] * row["chunk_tokens"]))
    return RetrievalSettings(chosen["retriever"], chosen["chunk_tokens"], chosen["top_k"]), rows


def _document_recall(wanted: Sequence[set[str]], found: Sequence[Sequence[Chunk]]) -> float:
    """Mean share of the wanted documents that the found chunks come from."""
    shares = [
        len(documents & {chunk.document_id for chunk in chunks}) / len(documents)
        for documents, chunks in zip(wanted, found, strict=True)
        if documents
    ]
    return sum(shares) / len(shares) if shares else 0.0
