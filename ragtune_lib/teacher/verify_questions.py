"""Drafts of held-out questions become questions that can be scored, or problems that say why not.

A draft passes when two independent looks at the source agree: the reference, written with its facts, and an answer
that another call gives from the same passages without seeing the reference. A fact counts when the source, the
reference and that answer all state it by `score.fact_recall`, the matcher by which systems are scored later, and the
question does not give it away. A local question needs all its facts to be stated, a global one at least two.

Twins are questions of the same form that the corpus does not answer; a model that sees what retrieval finds has to say
so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragtune_lib.llm import Call, Model
from ragtune_lib.llm.each import Rehearsal, ask_each
from ragtune_lib.llm.replies import TEXT, YES, fields
from ragtune_lib.records import Chunk, Problem, Question
from ragtune_lib.retrieve import Retriever
from ragtune_lib.score import fact_recall
from ragtune_lib.source_calls import source_call
from ragtune_lib.store import content_id
from ragtune_lib.support import REFUSAL, abstains
from ragtune_lib.text import content_words, date_of, numbers, spoken_date

STAGE = "04_curate"
FACTS = {"type": "array", "items": {"type": "array", "items": TEXT}}  # of each fact its accepted wordings
REFERENCE = fields(able=YES, answer=TEXT, facts=FACTS)
TWIN = fields(question=TEXT, statement=TEXT)
STATED = fields(found=TEXT, stated=YES)
LEAST = {"local": 1, "global": 2}  # facts of a question
TOKENS = 1024  # of a reply


@dataclass(frozen=True, slots=True)
class Draft:
    """A question that may become a held-out one."""

    origin: str  # "personas", "description", "local", "twin"
    question: str
    chunks: tuple[Chunk, ...] = ()  # its source; empty: what retrieval finds
    answer: str = ""
    facts: tuple[tuple[str, ...], ...] = ()
    statement: str = ""  # of a twin: what would answer it, with a gap

    @property
    def scope(self) -> str:
        """Of the question that it may become."""
        return {"local": "local", "twin": "unanswerable"}.get(self.origin, "global")

    @property
    def item(self) -> str:
        """For a Problem."""
        return f"{self.origin}: {self.question}"


def verify(
    model: Model | Rehearsal, drafts: Sequence[Draft], retriever: Retriever, k: int = 20
) -> tuple[list[tuple[Draft, Question]], list[Problem]]:
    """Find the reference facts of drafts and whether the corpus really answers them.

    Args:
        model: writes references and answers from the source.
        drafts: local ones with their facts, global ones without.
        retriever: finds the source of drafts that have none.
        k: chunks that it finds for each.

    Returns:
        The drafts that passed with their question, in order, and a Problem for each other one. The evidence of a
        question are those chunks of its source that state one of its facts.

    Raises:
        StageError: see `Model.ask`.
    """
    drafts, problems = list(drafts), []
    bare = [place for place, draft in enumerate(drafts) if not draft.chunks]
    found = retriever.top([drafts[place].question for place in bare], k) if bare else []
    for place, chunks in zip(bare, found, strict=True):
        drafts[place] = replace(drafts[place], chunks=tuple(chunks))
    due = [place for place, draft in enumerate(drafts) if not draft.facts]
    unable = set()
    for place, data, problem in ask_each(model, STAGE, due, lambda place: _reference_call(drafts[place])):
        if problem or not data["able"]:
            problems.append(problem or Problem(STAGE, drafts[place].item, "the passages do not answer it"))
            unable.add(place)
        else:
            facts = tuple(tuple(wordings) for wordings in data["facts"])
            drafts[place] = replace(drafts[place], answer=data["answer"].strip(), facts=facts)
    answerable = [draft for place, draft in enumerate(drafts) if place not in unable]
    passed = []
    for draft, said, problem in ask_each(model, STAGE, answerable, _answer_call):
        result = problem or confirm(draft, said)
        if isinstance(result, Problem):
            problems.append(result)
        else:
            passed.append((draft, result))
    return passed, problems


def _reference_call(draft: Draft) -> Call:
    return source_call("question_reference", draft.item, draft.chunks, REFERENCE, TOKENS, question=draft.question)


def _answer_call(draft: Draft) -> Call:
    return source_call("answer_from_source", draft.item, draft.chunks, None, TOKENS, question=draft.question)


def confirm(draft: Draft, said: str) -> Question | Problem:
    """The question with the facts that both looks at the source agree on, or why it is none.

    Args:
        draft: with source, reference answer and facts.
        said: what a model answered from the source without seeing the reference.
    """
    facts = [fact for fact in map(_usable, draft.facts) if fact]
    source = "\n".join(_dated(chunk) for chunk in draft.chunks)
    stated = [fact for fact in facts if _states(source, fact) and _states(draft.answer, fact)]
    stated = list(dict.fromkeys(fact for fact in stated if not _states(draft.question, fact)))
    agreed = [fact for fact in stated if _states(said, fact)]
    least = LEAST[draft.scope]
    if len(stated) < least:
        reason = f"{len(stated)} of {len(draft.facts)} facts stand in source and reference and not in the question"
        return Problem(STAGE, draft.item, f"{reason}; {least} are needed")
    if abstains(said) or len(agreed) < (len(stated) if draft.scope == "local" else least):
        reason = f"an answer from the passages states {len(agreed)} of {len(stated)} facts"
        return Problem(STAGE, draft.item, reason, said)
    evidence = tuple(chunk.id for chunk in draft.chunks if any(_states(_dated(chunk), fact) for fact in agreed))
    question_id = content_id(draft.question, tuple(agreed))
    return Question(question_id, draft.scope, draft.question, draft.answer, tuple(agreed), evidence)


def _usable(wordings: Sequence[str]) -> tuple[str, ...]:
    """Wordings that say something; "the" would be found in every answer."""
    kept = (" ".join(wording.split()) for wording in wordings)
    return tuple(dict.fromkeys(wording for wording in kept if content_words(wording) or numbers(wording)))


def _states(text: str, fact: Sequence[str]) -> bool:
    return fact_recall(text, [fact]) == 1.0


def _dated(chunk: Chunk) -> str:
    return f"{chunk.date} {spoken_date(date_of(chunk.date))}\n{chunk.text}"


def draft_twins(
    model: Model | Rehearsal, originals: Sequence[Draft], temperature: float, sample: int
) -> tuple[list[Draft], list[Problem]]:
    """For each question one of the same form whose answer the corpus should not hold.

    Args:
        model: the writer.
        originals: questions with their source.
        temperature: of the replies.
        sample: number of the draw.
    """

    def call_of(draft: Draft) -> Call:
        item = f"twin: of {draft.question}"
        return source_call(
            "question_twin", item, draft.chunks, TWIN, TOKENS, temperature, sample, question=draft.question
        )

    twins, problems = [], []
    for draft, data, problem in ask_each(model, STAGE, originals, call_of):
        if problem or not data["question"].strip():
            problems.append(problem or Problem(STAGE, f"twin: of {draft.question}", "the question is empty"))
        else:
            twins.append(Draft("twin", data["question"].strip(), draft.chunks, statement=data["statement"].strip()))
    return twins, problems


def verify_twins(
    model: Model | Rehearsal, twins: Sequence[Draft], retriever: Retriever, k: int = 20
) -> tuple[list[Question], list[Problem]]:
    """Keep the twins that the corpus does not answer.

    The model sees the source of the original question, and what retrieval finds for the twin and for the statement
    that would answer it. What no retriever finds may still be in the corpus: a twin is likely, not proven,
    unanswerable.
    """
    near = retriever.top([twin.question for twin in twins], k)
    nearer = retriever.top([twin.statement or twin.question for twin in twins], k)
    order = {chunk.id: place for place, chunk in enumerate(retriever.chunks)}
    due = []
    for twin, *found in zip(twins, near, nearer, strict=True):
        seen = {chunk.id: chunk for chunk in (*twin.chunks, *found[0], *found[1])}
        due.append((twin, sorted(seen.values(), key=lambda chunk: order.get(chunk.id, -1))))

    def call_of(one: tuple[Draft, list[Chunk]]) -> Call:
        twin, source = one
        return source_call("question_stated", twin.item, source, STATED, TOKENS, question=twin.question)

    kept, problems = [], []
    for (twin, _), data, problem in ask_each(model, STAGE, due, call_of):
        if problem or data["stated"]:
            problems.append(problem or Problem(STAGE, twin.item, "the corpus answers it", data["found"]))
        else:
            question_id = content_id(twin.question, ())
            kept.append(Question(question_id, "unanswerable", twin.question, REFUSAL, (), ()))
    return kept, problems
