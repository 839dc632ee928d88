"""Held-out questions by a model, written apart from the training pairs.

A memory is trained on every document, so what is held out is the question, never the fact. The prompts and draws are
others than those of the synthesis, and whatever comes near a training question in wording or embedding is left out.

| origin | scope | drafts | source |
|---|---|---|---|
| personas | global | people x tasks x questions, 5 x 5 x 5 = 125 | GraphRAG, arXiv 2404.16130, algorithm 1 |
| description | global | 50 draws of 5 | the public code of RAG-Tuned-LLM, arXiv 2503.16071 |
| local | local | as many as wanted, spread over the chunks | ours; the paper's generator is not public |
| twin | unanswerable | one for each of some of the others | ours |

In the published code the 50 draws are one and the same call, and give near-duplicates. Here each draw sees a few other
passages beside the description, and duplicates are removed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ragtune_lib.checks import Embed
from ragtune_lib.llm import Call, Model, StageError
from ragtune_lib.llm.cost import Forecast
from ragtune_lib.llm.each import Rehearsal, ask_each
from ragtune_lib.llm.replies import TEXT, YES, fields
from ragtune_lib.records import Chunk, Problem, Question
from ragtune_lib.retrieve import Retriever
from ragtune_lib.source_calls import source_call, spread
from ragtune_lib.teacher.verify_questions import FACTS, STAGE, TOKENS, Draft, draft_twins, verify, verify_twins
from ragtune_lib.teacher.wordings import Wordings

APART = 1000  # added to the seed: no draw of the training pairs has such a number
SHOWN = 48_000  # characters of the corpus that its description is written from, about 12,000 tokens


@dataclass(frozen=True, slots=True)
class QuestionPlan:
    """How many drafts of each origin; fewer become questions."""

    personas: int = 5  # 0: none of this origin
    tasks: int = 5  # per persona
    per_task: int = 5  # questions
    draws: int = 50  # from the description; 0: none of this origin
    per_draw: int = 5
    local: int = 100
    twins: int = 40  # at most one per question
    description: str = ""  # of the corpus; "" has the model write one
    context_chunks: int = 20  # that a global question is answered from
    passages: int = 3  # shown to each draw from the description
    temperature: float = 0.7  # of what writes; what checks is asked at 0
    seed: int = 17

    @property
    def drafts(self) -> int:
        """Drafts in all, twins not counted."""
        return self.personas * self.tasks * self.per_task + self.draws * self.per_draw + self.local


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out questions; for each origin planned = questions + problems."""

    questions: tuple[Question, ...]
    problems: tuple[Problem, ...]
    planned: dict[str, int]  # by origin
    kept: dict[str, int]

    def __str__(self) -> str:
        return ", ".join(f"{origin}: {self.kept[origin]} of {count}" for origin, count in self.planned.items())


def held_out_by_model(
    model: Model | Rehearsal,
    chunks: Sequence[Chunk],
    trained: Sequence[str],
    retriever: Retriever,
    embed: Embed,
    plan: QuestionPlan,
) -> HeldOut:
    """Write, sort out and verify held-out questions.

    Args:
        model: writes and verifies; better not the teacher.
        chunks: the corpus in reading order.
        trained: the questions of all training pairs.
        retriever: over the same chunks; finds what global questions are answered from.
        embed: texts to rows of length 1.
        plan: how many.

    Returns:
        Questions by origin in the order of the table above, and a Problem for every draft that became none.

    Raises:
        StageError: if not one draft came, or as in `Model.ask`; finished calls are kept.
    """
    drafts, problems = draft_held_out(model, chunks, plan)
    known = Wordings(trained, embed)
    drafts, near = _fresh(drafts, known)
    passed, failed = verify(model, drafts, retriever, plan.context_chunks)
    originals = _originals([draft for draft, _ in passed], plan)
    twins, untwinned = draft_twins(model, originals, plan.temperature, plan.seed + APART)
    twins, near_twins = _fresh(twins, known)  # not compared with the originals: a twin shall be like its own
    unanswerable, answered = verify_twins(model, twins, retriever, plan.context_chunks)
    planned = {**_planned(plan, chunks), "twin": len(originals)}
    kept = {**dict.fromkeys(planned, 0), **Counter(draft.origin for draft, _ in passed), "twin": len(unanswerable)}
    return HeldOut(
        (*(question for _, question in passed), *unanswerable),
        (*problems, *near, *failed, *untwinned, *near_twins, *answered),
        planned,
        kept,
    )


def forecast_held_out(
    model: Model,
    chunks: Sequence[Chunk],
    trained: Sequence[str],
    retriever: Retriever,
    embed: Embed,
    plan: QuestionPlan,
) -> Forecast:
    """Calls, tokens and money of `held_out_by_model`, at most: as if every draft passed. Nothing is sent."""
    rehearsal, known = Rehearsal(model), Wordings(trained, embed)
    drafts, _ = draft_held_out(rehearsal, chunks, plan)
    if not rehearsal.invented:  # stand-ins are all alike
        drafts, _ = _fresh(drafts, known)
    passed = [draft for draft, _ in verify(rehearsal, drafts, retriever, plan.context_chunks)[0]]
    originals = _originals(passed if not rehearsal.invented else drafts, plan)
    twins, _ = draft_twins(rehearsal, originals, plan.temperature, plan.seed + APART)
    if not rehearsal.invented:
        twins, _ = _fresh(twins, known)
    verify_twins(rehearsal, twins, retriever, plan.context_chunks)
    return rehearsal.forecast()


def _fresh(drafts: Sequence[Draft], known: Wordings) -> tuple[list[Draft], list[Problem]]:
    reasons = known.fresh([draft.question for draft in drafts])
    problems = [
        Problem(STAGE, draft.item, f"worded like a training question or an earlier draft: {reason}")
        for draft, reason in zip(drafts, reasons, strict=True)
        if reason
    ]
    return [draft for draft, reason in zip(drafts, reasons, strict=True) if not reason], problems


def _originals(drafts: Sequence[Draft], plan: QuestionPlan) -> list[Draft]:
    """Which questions get a twin: local ones first, since these ask for one thing."""
    chooser = random.Random(plan.seed + APART)
    local = [draft for draft in drafts if draft.scope == "local"]
    wide = [draft for draft in drafts if draft.scope != "local"]
    chosen = chooser.sample(local, min(plan.twins, len(local)))
    return chosen + chooser.sample(wide, min(plan.twins - len(chosen), len(wide)))


def _planned(plan: QuestionPlan, chunks: Sequence[Chunk]) -> dict[str, int]:
    return {
        "personas": plan.personas * plan.tasks * plan.per_task,
        "description": plan.draws * plan.per_draw,
        "local": plan.local if chunks else 0,
    }


def draft_held_out(
    model: Model | Rehearsal, chunks: Sequence[Chunk], plan: QuestionPlan
) -> tuple[list[Draft], list[Problem]]:
    """Write the drafts; every one that is due is a draft or a problem.

    Raises:
        StageError: if not one draft came, or as in `Model.ask`.
    """
    described: str | Problem = plan.description
    if not described and (plan.personas or plan.draws):
        described = describe(model, chunks, plan.seed)
    drafts, problems = [], []
    for found, wrong in (*_global(model, described, chunks, plan), _local(model, chunks, plan)):
        drafts += found
        problems += wrong
    if problems and not drafts:
        error = StageError(f"{STAGE}: not one held-out question could be written; the last said: {problems[-1].reason}")
        error.problems = tuple(problems)
        raise error
    return drafts, problems


def _global(
    model: Model | Rehearsal, described: str | Problem, chunks: Sequence[Chunk], plan: QuestionPlan
) -> list[tuple[list[Draft], list[Problem]]]:
    """Drafts and problems of the two origins that need a description; where it failed, a problem for each draft."""
    if isinstance(described, Problem):
        due = _planned(plan, chunks)
        origins = [origin for origin in ("personas", "description") for _ in range(due[origin])]
        return [([], [replace(described, item=f"{origin}: description of the corpus") for origin in origins])]
    people = _from_personas(model, described, plan) if plan.personas else ([], [])
    return [people, _from_description(model, described, chunks, plan)]


def describe(model: Model | Rehearsal, chunks: Sequence[Chunk], seed: int = 17) -> str | Problem:
    """A description of the corpus by the model, from passages taken evenly from all of it; one call."""
    room = SHOWN // max(1, max(len(chunk.text) for chunk in chunks))
    shown = [chunks[place] for place in spread(len(chunks), max(1, room))]
    call = source_call(
        "corpus_description", "description", shown, None, TOKENS, sample=seed + APART, shown=len(shown),
        total=len(chunks),
    )  # fmt: skip
    ((_, text, problem),) = ask_each(model, STAGE, [call], lambda call: call)
    return problem or text.strip()


@cache
def _numbered(name: str, count: int) -> dict[str, Any]:
    """Schema of exactly `count` texts, as numbered fields: not every server can count the items of a list."""
    return fields(**{f"{name}_{number}": TEXT for number in range(1, count + 1)})


def _texts(data: dict[str, str], name: str, count: int) -> list[str]:
    return [data[f"{name}_{number}"].strip() for number in range(1, count + 1)]


def _from_personas(model: Model | Rehearsal, description: str, plan: QuestionPlan) -> tuple[list[Draft], list[Problem]]:
    """People, then the tasks of each, then the questions of each task: 1 + 5 + 25 calls."""
    about = {"description": description}

    def call(name: str, item: str, field: str, count: int, **texts: str) -> Call:
        schema = _numbered(field, count)
        return source_call(
            name, item, (), schema, 2 * TOKENS, plan.temperature, plan.seed + APART, count=count, **about, **texts
        )

    first = call("question_personas", "personas", "person", plan.personas)
    ((_, data, problem),) = ask_each(model, STAGE, [first], lambda call: call)
    if problem:
        return [], [problem] * plan.personas * plan.tasks * plan.per_task
    people = _texts(data, "person", plan.personas)
    due, problems = [], []
    for person, data, problem in ask_each(
        model,
        STAGE,
        people,
        lambda person: call("question_tasks", "personas: tasks", "task", plan.tasks, persona=person),
    ):
        problems += [problem] * plan.tasks * plan.per_task if problem else []
        due += [] if problem else [(person, task) for task in _texts(data, "task", plan.tasks)]

    def questions_of(one: tuple[str, str]) -> Call:
        person, task = one
        item = f"personas: {task}"
        return call("questions_for_task", item, "question", plan.per_task, persona=person, task=task)

    drafts, wrong = _questions(model, "personas", due, plan.per_task, questions_of)
    return drafts, problems + wrong


def _from_description(
    model: Model | Rehearsal, description: str, chunks: Sequence[Chunk], plan: QuestionPlan
) -> tuple[list[Draft], list[Problem]]:
    def call(draw: int) -> Call:
        chooser = random.Random(f"{plan.seed} {draw}")
        places = sorted(chooser.sample(range(len(chunks)), min(plan.passages, len(chunks))))
        return source_call(
            "questions_from_description", f"description: draw {draw}", [chunks[place] for place in places],
            _numbered("question", plan.per_draw), TOKENS, plan.temperature, plan.seed + APART + draw,
            count=plan.per_draw, description=description,
        )  # fmt: skip

    return _questions(model, "description", range(plan.draws), plan.per_draw, call)


def _questions(
    model: Model | Rehearsal, origin: str, things: Sequence[Any], count: int, call_of: Callable[[Any], Call]
) -> tuple[list[Draft], list[Problem]]:
    drafts, problems = [], []
    for _, data, problem in ask_each(model, STAGE, things, call_of):
        for question in _texts(data or {}, "question", 0 if problem else count):
            if question:
                drafts.append(Draft(origin, question))
            else:
                problems.append(Problem(STAGE, f"{origin}: ", "the question is empty"))
        problems += [problem] * count if problem else []
    return drafts, problems


@cache
def _examination(count: int) -> dict[str, Any]:
    one = fields(question=TEXT, answer=TEXT, facts=FACTS)
    return fields(able=YES, **{f"question_{number}": one for number in range(1, count + 1)})


def _local(model: Model | Rehearsal, chunks: Sequence[Chunk], plan: QuestionPlan) -> tuple[list[Draft], list[Problem]]:
    """Questions about single chunks, as evenly over the corpus as their number allows."""
    each, more = divmod(plan.local, max(1, len(chunks)))
    chosen = set(random.Random(plan.seed + APART).sample(range(len(chunks)), more if chunks else 0))
    due = [(chunk, each + (place in chosen)) for place, chunk in enumerate(chunks)]
    due = [(chunk, count) for chunk, count in due if count]

    def call_of(one: tuple[Chunk, int]) -> Call:
        chunk, count = one
        return source_call(
            "questions_local", f"local: {chunk.id}", [chunk], _examination(count), TOKENS * count, plan.temperature,
            plan.seed + APART, count=count,
        )  # fmt: skip

    drafts, problems = [], []
    for (chunk, count), data, problem in ask_each(model, STAGE, due, call_of):
        if problem or not data["able"]:
            problems += [problem or Problem(STAGE, f"local: {chunk.id}", "no fact worth asking for")] * count
            continue
        for number in range(1, count + 1):
            found = data[f"question_{number}"]
            facts = tuple(tuple(wordings) for wordings in found["facts"])
            if found["question"].strip() and facts:
                drafts.append(Draft("local", found["question"].strip(), (chunk,), found["answer"].strip(), facts))
            else:
                problems.append(Problem(STAGE, f"local: {chunk.id}", "no question or no fact", str(found)))
    return drafts, problems
