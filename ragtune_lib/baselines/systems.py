"""The baselines of the literature, read by any model of the seam, beside the systems of `answer`.

| name | what stands before the question |
| --- | --- |
| vanilla_rag_published | chunks of 1,000 characters, the best 5 of 10; answered in three sentences at most |
| vanilla_rag_uncapped | the same chunks; as long an answer as any other system may give |
| long_context_api | the whole corpus, as far as the reader takes it in |
| graphrag_local_c0 to _c3 | `graphrag_local`, at one of four community levels |
| graphrag_global_c0 to _c3 | `graphrag_global`, likewise |

The first two differ in nothing but the length that they are told, so their distance is what the cap is worth. The
published VanillaRAG (evaluation of arXiv 2503.16071) leaves the reranking to a service; here the ten nearest chunks are
reranked by joining their order with that of BM25.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ragtune_lib.answer import fit_documents
from ragtune_lib.baselines.graphrag_global import global_search
from ragtune_lib.baselines.graphrag_local import LocalIndex, local_search, nearest_entities
from ragtune_lib.baselines.reading import CHARACTERS, HEADER, ModelReader, Turn, item_of, read_all
from ragtune_lib.documents import chunk_documents
from ragtune_lib.graph.communities import communities_at
from ragtune_lib.llm import Call, Model
from ragtune_lib.llm.cost import Forecast
from ragtune_lib.llm.each import Rehearsal
from ragtune_lib.records import Answer, Chunk, Community, Document, Entity, Problem, Question, Relationship
from ragtune_lib.retrieve import FUSION_K, Retriever
from ragtune_lib.source_calls import source_call
from ragtune_lib.text import spoken_date

if TYPE_CHECKING:
    import numpy as np

LEVELS = 4
LOCAL, GLOBAL = "graphrag_local_c", "graphrag_global_c"
PUBLISHED, UNCAPPED, EVERYTHING = "vanilla_rag_published", "vanilla_rag_uncapped", "long_context_api"
BASELINES = (
    PUBLISHED,
    UNCAPPED,
    EVERYTHING,
    *(f"{kind}{level}" for kind in (LOCAL, GLOBAL) for level in range(LEVELS)),
)
CHUNK, OVERLAP = 1_000, 100  # characters
FOUND, READ = 10, 5  # chunks before and after reranking
THREE_SENTENCES = "Use at most three sentences."
PROMPT = "read_passages"


@dataclass(frozen=True, slots=True)
class Source:
    """What the baselines can read: the artifacts of notebooks 01 and 02."""

    documents: Sequence[Document]
    chunks: Sequence[Chunk]
    entities: Sequence[Entity]
    relationships: Sequence[Relationship]
    communities: Sequence[Community]
    embed: Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Baselines:
    """What the baselines said: for each question and baseline an answer or at least one problem."""

    answers: tuple[Answer, ...]
    problems: tuple[Problem, ...]
    fit: dict[str, Any]  # how the corpus fits into the window of "long_context_api"; {} without it


def baseline_names(text: str) -> list[str]:
    """Names of baselines from a parameter; "graphrag_local" and "graphrag_global" without a level mean C0.

    >>> baseline_names("graphrag_local vanilla_rag_published")
    ['graphrag_local_c0', 'vanilla_rag_published']

    Raises:
        ValueError: for an unknown name, with the nearest one.
    """
    names = [f"{name}_c0" if f"{name}_c" in (LOCAL, GLOBAL) else name for name in text.split()]
    for name in names:
        if name not in BASELINES:
            near = difflib.get_close_matches(name, BASELINES, 1, 0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"baseline {name!r} is unknown; {hint}known: {', '.join(BASELINES)}")
    return list(dict.fromkeys(names))


def ask_baselines(
    names: Sequence[str], questions: Sequence[Question], reader: ModelReader, source: Source
) -> Baselines:
    """Have every baseline answer every question.

    Args:
        names: as `baseline_names` gives them.
        questions: to be answered.
        reader: see `reading.open_reader`.
        source: of the run.

    Raises:
        StageError: if not one of several calls of a baseline succeeded, or none can (key, model, quota, server). What
            was answered is kept for the next run.
        ValueError: for a baseline that has nothing to read, or a window too small for any prompt.
    """
    answers: list[Answer] = []
    problems: list[Problem] = []
    fit: dict[str, Any] = {}
    asked = [question.question for question in questions]
    near = nearest_entities(source.entities, asked, source.embed) if any(LOCAL in name for name in names) else []
    capped = [name for name in names if name in (PUBLISHED, UNCAPPED)]
    contexts = published_contexts(asked, published_chunks(source.documents), source.embed) if capped else []
    for name in names:
        level = int(name[-1]) if name.startswith((LOCAL, GLOBAL)) else 0
        if name.startswith(LOCAL):
            index = LocalIndex(source.entities, source.relationships, source.communities, source.chunks, level)
            made, troubles = local_search(reader, name, questions, near, index)
        elif name.startswith(GLOBAL):
            made, troubles = global_search(reader, name, questions, communities_at(source.communities, level))
        elif name == EVERYTHING:
            made, troubles, fit = read_everything(reader, questions, source.documents)
        else:
            made, troubles = read_chunks(reader, name, questions, contexts, three_sentences=name == PUBLISHED)
        answers += made
        problems += troubles
    return Baselines(tuple(answers), tuple(problems), fit)


def forecast_baselines(
    names: Sequence[str], questions: Sequence[Question], reader: ModelReader, source: Source
) -> Forecast:
    """Calls, tokens and money that `ask_baselines` will take; nothing is sent.

    In global search every window counts as helpful, so the tokens of the final answers are an upper limit.
    """
    model = reader.model
    rehearsal = Rehearsal(model) if isinstance(model, Model) else model
    ask_baselines(names, questions, replace(reader, model=rehearsal), source)
    return rehearsal.forecast()


def published_chunks(documents: Sequence[Document]) -> list[Chunk]:
    """Chunks of at most 1,000 characters that share at most 100; they end with a sentence where they can."""
    return chunk_documents(documents, CHARACTERS, CHUNK, OVERLAP)


def published_contexts(
    questions: Sequence[str], chunks: Sequence[Chunk], embed: Callable[[Sequence[str]], np.ndarray]
) -> list[list[Chunk]]:
    """The five chunks for each question, best first: the ten nearest by embedding, reranked.

    Score of a chunk: 1 / (60 + its rank by embedding) + 1 / (60 + its rank by BM25 among the ten), ranks from 1; equal
    ones in the order of the embedding.
    """
    near = Retriever(chunks, embed, "dense").top(questions, FOUND)
    by_words = Retriever(chunks, None, "bm25")
    contexts = []
    for question, found in zip(questions, near, strict=True):
        inside = {chunk.id for chunk in found}
        (worded,) = by_words.top([question], len(chunks))
        rank = {id_: at for at, id_ in enumerate((chunk.id for chunk in worded if chunk.id in inside), 1)}
        score = {chunk.id: 1 / (FUSION_K + at) + 1 / (FUSION_K + rank[chunk.id]) for at, chunk in enumerate(found, 1)}
        contexts.append(sorted(found, key=lambda chunk: -score[chunk.id])[:READ])
    return contexts


def _passages_call(reader: ModelReader, system: str, question: Question, chunks: Sequence[Chunk], length: str) -> Call:
    item, most = item_of(question.id, system), reader.max_tokens
    return source_call(PROMPT, item, chunks, None, most, question=question.question, length=length)


def read_chunks(
    reader: ModelReader,
    system: str,
    questions: Sequence[Question],
    contexts: Sequence[Sequence[Chunk]],
    three_sentences: bool,
) -> tuple[list[Answer], list[Problem]]:
    """Answer from retrieved chunks.

    Args:
        reader: who answers.
        system: name of the system.
        questions: to be answered.
        contexts: chunks for each, best first.
        three_sentences: the published cap; False gives the length that all other systems have.
    """
    length = THREE_SENTENCES if three_sentences else reader.length
    turns = [
        Turn(
            question.id,
            partial(_passages_call, reader, system, question, chunks, length),
            tuple(chunk.id for chunk in chunks),
        )
        for question, chunks in zip(questions, contexts, strict=True)
    ]
    return read_all(reader, system, turns)


def read_everything(
    reader: ModelReader, questions: Sequence[Question], documents: Sequence[Document]
) -> tuple[list[Answer], list[Problem], dict[str, Any]]:
    """Answer with the whole corpus before the question, each document with its title and date.

    The corpus comes first in the prompt, so a provider that keeps prompts reads it once. What does not fit is left out
    from the beginning, as in `answer.fit_documents`.

    Returns:
        Answers, problems, and how the corpus fits: corpus_tokens, window, used_tokens, documents, used_documents.
    """
    room = reader.room(PROMPT, (question.question for question in questions), reader.max_tokens)
    told, fit = fit_documents([_headed(document) for document in documents], reader.tokenizer, room - HEADER)
    whole = [Chunk("", "", 0, len(told), told, "")]
    turns = [
        Turn(question.id, partial(_passages_call, reader, EVERYTHING, question, whole, reader.length), ())
        for question in questions
    ]
    return *read_all(reader, EVERYTHING, turns), {**fit, "window": reader.window}


def _headed(document: Document) -> Document:
    """The document with title and date above its text, where the text does not begin with them."""
    start = document.text[: len(document.title) + 200]
    head = [line for line in (document.title, spoken_date(document.date)) if line and line not in start]
    return replace(document, text="\n".join([*head, document.text.strip()]))
