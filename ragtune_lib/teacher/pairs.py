"""Training pairs by a teacher model: the plan is asked, every outcome is counted.

    plan = plan_synthesis(chunks, entities, relationships, communities, Generators())
    print(plan, forecast_synthesis(model, plan))  # N, calls, money; nothing is sent
    made = synthesize(model, plan)

Thought and answer stay apart (`QAPair.reasoning`, `QAPair.answer`); `training_set.target_text` joins them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ragtune_lib.llm import Call, Model
from ragtune_lib.llm.cost import Forecast
from ragtune_lib.llm.each import Rehearsal, ask_each
from ragtune_lib.llm.replies import TEXT, YES, fields
from ragtune_lib.records import Problem, QAPair
from ragtune_lib.source_calls import source_call
from ragtune_lib.store import content_id
from ragtune_lib.synthesize import make_pair
from ragtune_lib.teacher.pair_plan import STAGE, Plan, Task
from ragtune_lib.text import contains, normalize

UNABLE = "unable to generate"  # what models write although they have a field for it
PAIR = fields(question=TEXT, reasoning=TEXT, answer=TEXT)
QUESTION = fields(thought=TEXT, able=YES, question=TEXT)
ANSWER = fields(thought=TEXT, answer=TEXT)


@dataclass(frozen=True, slots=True)
class Count:
    """What became of one generator's pairs: planned = pairs + unable + repeated + problems."""

    kind: str
    planned: int
    pairs: int
    unable: int  # the model found nothing to ask; nothing is wrong with that
    repeated: int  # word for word a pair that another subject gave already
    problems: int


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What a teacher made of a plan."""

    pairs: tuple[QAPair, ...]  # in the order of the plan, templates first
    unable: tuple[str, ...]  # items
    problems: tuple[Problem, ...]
    counts: tuple[Count, ...]

    def __str__(self) -> str:
        return f"{len(self.pairs):,} pairs, {len(self.unable):,} unable, {len(self.problems):,} problems"


def forecast_synthesis(model: Model, plan: Plan) -> Forecast:
    """Calls, tokens and money of `synthesize`, at most: as if the model were always able. Nothing is sent."""
    rehearsal = Rehearsal(model)
    synthesize(rehearsal, plan)
    return rehearsal.forecast()


def synthesize(model: Model | Rehearsal, plan: Plan) -> Synthesis:
    """Make the pairs of a plan.

    First all subjects are asked about; then the questions about single chunks are answered, each with the thought of
    its own first pass. A reply without a usable question or answer is a Problem with the reply.

    Args:
        model: the teacher.
        plan: what is due.

    Returns:
        Pairs, and what became of everything else; for each generator planned = pairs + unable + repeated + problems.

    Raises:
        StageError: see `Model.ask`; what was answered is kept.
    """
    problems = list(plan.problems)
    unable: list[str] = []
    asked: list[tuple[int, Task, str, str]] = []  # place in the plan, task, question, thought
    made: dict[int, list[QAPair]] = {}
    tasks = list(enumerate(plan.tasks))
    for (place, task), data, problem in ask_each(model, STAGE, tasks, lambda one: first_call(plan, one[1])):
        if problem:
            problems += [problem] * task.wanted
        elif not task.kind.startswith("local"):
            found = list(_global_pairs(model.name, task, data))
            made[place] = [pair for pair in found if isinstance(pair, QAPair)]
            problems += [wrong for wrong in found if isinstance(wrong, Problem)]
        elif not data["able"] or UNABLE in data["question"].lower() or not data["question"].strip():
            unable.append(task.item)
        else:
            asked.append((place, task, data["question"].strip(), data["thought"].strip()))
    for (place, task, question, _), data, problem in ask_each(
        model, STAGE, asked, lambda one: answer_call(plan, *one[1:])
    ):
        if problem or not data["answer"].strip():
            problems.append(problem or Problem(STAGE, task.item, "the answer is empty", str(data)))
        else:
            made[place] = [_pair(model.name, task, question, data["thought"], data["answer"])]
    everything = [*plan.pairs, *(pair for place in sorted(made) for pair in made[place])]
    pairs: dict[str, QAPair] = {}
    for pair in everything:
        pairs.setdefault(pair.id, pair)
    counts = _counts(plan, everything, list(pairs.values()), unable, problems)
    return Synthesis(tuple(pairs.values()), tuple(unable), tuple(problems), counts)


def first_call(plan: Plan, task: Task) -> Call:
    """The first, for most generators the only call about a subject."""
    if task.kind.startswith("local"):
        return _call(plan, task, "unit_question", QUESTION)
    if task.kind == "community_cot":
        return _call(plan, task, "pair_community", _several(task.wanted), count=task.wanted, words=plan.settings.words)
    return _call(plan, task, "pair_subject", PAIR, words=plan.settings.words)


def answer_call(plan: Plan, task: Task, question: str, thought: str) -> Call:
    """The second call about a subject in a chunk."""
    return _call(plan, task, "unit_answer", ANSWER, question=question, thought=thought)


def _call(plan: Plan, task: Task, prompt: str, schema: Mapping[str, Any], **texts: object) -> Call:
    known = plan.settings
    chunks = [plan.chunks[chunk_id] for chunk_id in task.chunk_ids]
    subject = {"names": "\n".join(task.names), "type": task.type, "description": task.description or "(none)"}
    tokens = known.question_tokens if schema is QUESTION else known.max_tokens * task.wanted
    return source_call(prompt, task.item, chunks, schema, tokens, known.temperature, known.seed, **subject, **texts)


@cache
def _several(count: int) -> dict[str, Any]:
    """Schema of exactly `count` pairs: fields with numbers, since not every server can count the items of a list."""
    return fields(**{f"pair_{number}": PAIR for number in range(1, count + 1)})


def _global_pairs(writer: str, task: Task, data: Mapping[str, Any]) -> Iterator[QAPair | Problem]:
    several = task.kind == "community_cot"
    for number in range(1, task.wanted + 1):
        found = data[f"pair_{number}"] if several else data
        question, answer = found["question"].strip(), found["answer"].strip()
        names = () if several else task.names
        missing = [name for name in names if normalize(name) and not contains(normalize(question), name)]
        wrong = "" if question and answer else "question or answer is empty"
        if missing and not wrong:
            wrong = f"the question does not name {missing[0]!r:.60}"
        if wrong:
            yield Problem(STAGE, task.item, wrong, str(found))
        else:
            fact = content_id(task.fact_id, number) if several else task.fact_id
            yield _pair(writer, replace(task, fact_id=fact), question, found["reasoning"], answer)


def _pair(writer: str, task: Task, question: str, reasoning: str, answer: str) -> QAPair:
    scope = "local" if task.kind.startswith("local") else "global"
    made = make_pair(scope, task.kind, question, reasoning.strip(), answer.strip(), [], writer, task.fact_id)
    return replace(made, evidence_ids=tuple(sorted(task.chunk_ids)))


def _counts(
    plan: Plan, everything: list[QAPair], pairs: list[QAPair], unable: list[str], problems: list[Problem]
) -> tuple[Count, ...]:
    all_made, kept = Counter(pair.kind for pair in everything), Counter(pair.kind for pair in pairs)
    silent = Counter(item.split(":")[0] for item in unable)
    failed = Counter(problem.item.split(":")[0] for problem in problems)
    return tuple(
        Count(kind, planned, kept[kind], silent[kind], all_made[kind] - kept[kind], failed[kind])
        for kind, planned in plan.planned.items()
    )
