"""A split that holds out whole documents, to measure what a model invents about text that it never saw.

This is the second split. The first one holds out questions only: a memory is trained on every document. Here some
documents stay out of everything that the systems see (chunks, graph, pairs, retrieval). Questions about them then have
one right reply: that the documents do not say. Whatever else a system answers, it made up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ragtune_lib.records import Chunk, Document, Problem, Question
from ragtune_lib.store import content_id
from ragtune_lib.support import REFUSAL


def hold_out_documents(
    documents: Sequence[Document], share: float = 0.1, seed: int = 17
) -> tuple[list[Document], list[Document]]:
    """Split documents by the content id of seed and name.

    Each document is decided by itself: adding, deleting or editing one moves no other, so nothing that was trained on
    slips into the held-out part later. The price is that the share is met only about: in n documents the number held
    out has a standard deviation of sqrt(n share (1 - share)).

    Args:
        documents: all of them.
        share: expected part that is held out, in [0, 1].
        seed: another one holds out others.

    Returns:
        Those to train on and those held out, each in the order given.

    Raises:
        ValueError: for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} is not in [0, 1]")
    held = {document.id for document in documents if int(content_id(seed, document.name), 16) < share * 16**16}
    return (
        [document for document in documents if document.id not in held],
        [document for document in documents if document.id in held],
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Questions after documents were held out; questions in = answerable + unseen + problems."""

    answerable: tuple[Question, ...]  # as they were
    unseen: tuple[Question, ...]  # about held-out documents alone: now unanswerable, with ids of their own
    problems: tuple[Problem, ...]  # about documents of both sides, or of neither: not usable under this split


def split_questions(
    questions: Sequence[Question], kept: Sequence[Document], held: Sequence[Document], chunks: Sequence[Chunk] = ()
) -> Split:
    """Sort questions by where their evidence lies.

    Args:
        questions: about all documents; their evidence are chunk ids, document ids, or document names with or without
            suffix.
        kept: documents to train on.
        held: documents held out.
        chunks: of both, where the evidence names chunks.
    """
    sides_of: dict[str, set[bool]] = defaultdict(set)
    for here, group in ((True, kept), (False, held)):
        for name in (name for document in group for name in _names(document)):
            sides_of[name].add(here)
    for chunk in chunks:
        sides_of[chunk.id] |= sides_of[chunk.document_id]
    answerable, unseen, problems = [], [], []
    for question in questions:
        found = [sides_of.get(name) or {None} for name in question.evidence]
        sides = set().union(*found)
        if question.scope == "unanswerable" or sides == {True}:
            answerable.append(question)
        elif sides == {False}:
            changed = {"scope": "unanswerable", "answer": REFUSAL, "facts": ()}
            unseen.append(replace(question, id=content_id(question.id, "unseen"), **changed))
        else:
            where = "names no known document" if None in sides or not sides else "lies on both sides of the split"
            problems.append(Problem("04_curate", question.id, f"its evidence {where}"))
    return Split(tuple(answerable), tuple(unseen), tuple(problems))


def about(questions: Sequence[Question], unseen: Sequence[Document]) -> list[Question]:
    """The unanswerable questions whose evidence names a document that was held out, of those that `Split` gave."""
    names = {name for document in unseen for name in _names(document)}
    return [one for one in questions if one.scope == "unanswerable" and not names.isdisjoint(one.evidence)]


def _names(document: Document) -> tuple[str, str, str]:
    """What evidence may call a document."""
    return document.id, document.name, str(PurePosixPath(document.name).with_suffix(""))
