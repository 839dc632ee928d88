"""A judge model: two answers, a rubric, both orders, strict verdicts.

    judging = plan_judging(questions, answers, pairs_of(systems), rubrics=(PAPER, GRAPHRAG))
    model.forecast(judging.calls())  # calls, tokens and money, before anything is spent
    judged = judge_pairs(model, judging)
    win_rates(judged.verdicts)

The judge sees a question, a reference, two answers; never who wrote them. It is asked in both orders equally often, and
a question counts only if it was judged in both. What cannot be read is invalid and never a win.

The rubrics are those of RAG-Tuned-LLM's evaluation (arXiv 2503.16071) and of GraphRAG (arXiv 2404.16130, appendix F);
the wording is ours. One call judges all criteria of a rubric where GraphRAG makes one call for each: a quarter of the
price, but a good impression by one criterion may colour the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from statistics import fmean
from typing import Any

from ragtune_lib.judges.reference import better
from ragtune_lib.llm import Call, Model, StageError, prompt
from ragtune_lib.llm.replies import TEXT, fields
from ragtune_lib.prompt_files import boundary, template
from ragtune_lib.records import Answer, Chunk, Document, JudgeCall, Problem, Question, Verdict
from ragtune_lib.text import words

STAGE = "07_judge"
OVERALL = "overall"
CONTROLS = ("directness",)  # judged as a check on the others; no part of "overall"
POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True, slots=True)
class Rubric:
    """Criteria that one call judges; what they mean is in `prompts/rubric_NAME.md`."""

    name: str
    criteria: tuple[str, ...]

    def schema(self) -> dict[str, Any]:
        """JSON schema of a verdict: for each criterion a reason, then a winner."""
        winner = {"type": "string", "enum": ["first", "second", "tie"]}
        each = fields(reason=TEXT, winner=winner)
        return fields(**dict.fromkeys(self.criteria, each))


PAPER = Rubric("paper", ("usefulness", "richness", "insight", "friendliness"))
GRAPHRAG = Rubric("graphrag", ("comprehensiveness", "diversity", "empowerment", "directness"))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One question, two answers, one rubric."""

    question: Question
    system_a: str
    system_b: str
    answer_a: str  # "" where it is missing
    answer_b: str
    source: str  # what the judge may consult, cut to its limit
    rubric: Rubric

    @property
    def missing(self) -> str:
        """Which system has no answer, "" if both have one."""
        pairs = ((self.system_a, self.answer_a), (self.system_b, self.answer_b))
        return " and ".join(system for system, text in pairs if not text.strip())


@dataclass(frozen=True, slots=True)
class Judging:
    """All that a judge will be asked; made by `plan_judging`."""

    comparisons: tuple[Comparison, ...]
    basis: str  # what `source` is, in words for the judge
    replicates: int
    temperature: float
    max_tokens: int

    def calls(self) -> Iterator[Call]:
        """One call for each comparison with both answers and each replicate, made when it is needed."""
        for comparison in self.comparisons:
            if not comparison.missing:
                for replicate in range(self.replicates):
                    yield self._call(comparison, replicate)

    def _call(self, comparison: Comparison, replicate: int) -> Call:
        texts = comparison.answer_a.strip(), comparison.answer_b.strip()
        first, second = texts if _order(replicate) == "ab" else texts[::-1]
        question, rubric = comparison.question, comparison.rubric
        rules = template("judge_rules").substitute(
            criteria=template(f"rubric_{rubric.name}").substitute(), basis=self.basis
        )
        body = template("judge_pair").substitute(
            mark=boundary(question.question, comparison.source, first, second),
            question=question.question,
            basis=self.basis,
            source=comparison.source or "(none is given)",
            first=first,
            second=second,
            names=", ".join(rubric.criteria),
        )
        return Call(
            item=_item(comparison, f"replicate {replicate}"),
            messages=prompt(body, rules),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            schema=rubric.schema(),
            sample=replicate // 2,  # both orders are prompts of their own
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a judging: `calls` holds comparisons x criteria x replicates, the unread ones as "invalid"."""

    calls: tuple[JudgeCall, ...]
    verdicts: tuple[Verdict, ...]  # `verdicts(calls)`
    problems: tuple[Problem, ...]  # one for each failed call, and for each comparison without both answers


def plan_judging(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    pairs: Sequence[tuple[str, str]],
    rubrics: Sequence[Rubric] = (PAPER,),
    sources: Mapping[str, str] | None = None,
    replicates: int = 2,
    temperature: float = 0.0,
    max_characters: int = 50_000,
    max_tokens: int = 1024,
) -> Judging:
    """Set up the comparison of systems by a judge model; nothing is asked yet.

    Args:
        questions: held-out questions.
        answers: one for each question and system; of several, the last counts.
        pairs: (a, b) to compare, e.g. from `reference.pairs_of`.
        rubrics: one call judges all criteria of one of them.
        sources: by question id, the text that the judge may consult (see `evidence_sources`); None: the question's
            reference answer.
        replicates: calls for each comparison and rubric, half of them in each order; even, at least 2. At temperature
            0 more than 2 only repeat what was said; GraphRAG's authors ask 4 times.
        temperature: of the judge.
        max_characters: where a source is cut; 50,000 is the published value.
        max_tokens: of a reply; a judge that thinks first needs several thousand.

    Raises:
        ValueError: if `replicates` is odd or below 2, or a system is compared with itself.
    """
    if replicates < 2 or replicates % 2:
        raise ValueError(f"replicates={replicates}: an even number, so that both orders are asked equally often")
    if same := [a for a, b in pairs if a == b]:
        raise ValueError(f"{same[0]!r} is compared with itself")
    said = {(answer.question_id, answer.system): answer.text for answer in answers}
    comparisons = tuple(
        Comparison(
            question=question,
            system_a=a,
            system_b=b,
            answer_a=said.get((question.id, a), ""),
            answer_b=said.get((question.id, b), ""),
            source=(question.answer if sources is None else sources.get(question.id, ""))[:max_characters],
            rubric=rubric,
        )
        for question in questions
        for a, b in pairs
        for rubric in rubrics
    )
    basis = "reference answer" if sources is None else "source text"
    return Judging(comparisons, basis, replicates, temperature, max_tokens)


def evidence_sources(
    questions: Sequence[Question], documents: Sequence[Document], chunks: Sequence[Chunk]
) -> dict[str, str]:
    """The text that each question is about, by question id: its evidence documents or chunks, in the order named.

    A question without evidence, as the unanswerable ones are, has its reference answer instead: a judge that is given
    nothing cannot know that declining is right.
    """
    texts = {chunk.id: chunk.text for chunk in chunks}
    texts |= {str(PurePosixPath(document.name).with_suffix("")): document.text for document in documents}
    return {
        question.id: "\n\n".join(texts[name] for name in question.evidence if name in texts) or question.answer
        for question in questions
    }


def judge_pairs(model: Model, judging: Judging, stage: str = STAGE) -> Judged:
    """Ask a judge model all that was planned, in one stage of the seam.

    Raises:
        StageError: if not one call succeeded; its `problems` say why.
    """
    records: list[JudgeCall] = []
    problems: list[Problem] = []
    results = model.stream(stage, judging.calls())
    try:
        for comparison in judging.comparisons:
            if comparison.missing:
                reason = f"no answer of {comparison.missing}"
                problems.append(Problem(stage, _item(comparison), reason))
            for replicate in range(judging.replicates):
                said = None
                if not comparison.missing:
                    result = next(results)
                    if result.problem:
                        problems.append(result.problem)
                        reason = result.problem.reason
                    else:
                        said = result.reply.data
                records += _read(comparison, replicate, model.name, said, reason if said is None else "")
        next(results, None)  # lets the stage end: it says how it went, and raises if nothing came
    except StageError as error:
        error.problems = error.problems or tuple(problems)
        raise
    return Judged(tuple(records), tuple(verdicts(records)), tuple(problems))


def _item(comparison: Comparison, *more: str) -> str:
    pair = f"{comparison.system_a} against {comparison.system_b}"
    return ", ".join([comparison.question.id, pair, comparison.rubric.name, *more])


def _order(replicate: int) -> str:
    return "ba" if replicate % 2 else "ab"


def _read(comparison: Comparison, replicate: int, model: str, said: Any, why: str) -> Iterator[JudgeCall]:
    """One record for each criterion of a reply; all invalid where there is none."""
    order = _order(replicate)
    winners = {"first": order[0], "second": order[1], "tie": "tie"}
    for criterion in comparison.rubric.criteria:
        yield JudgeCall(
            question_id=comparison.question.id,
            scope=comparison.question.scope,
            criterion=criterion,
            system_a=comparison.system_a,
            system_b=comparison.system_b,
            order=order,
            replicate=replicate,
            winner="invalid" if said is None else winners[said[criterion]["winner"]],
            reason=why if said is None else said[criterion]["reason"],
            length_a=len(words(comparison.answer_a)),
            length_b=len(words(comparison.answer_b)),
            judge=f"{model} ({comparison.rubric.name})",
        )


def verdicts(calls: Sequence[JudgeCall]) -> list[Verdict]:
    """Fold what was said in all replicates into one Verdict for each question, pair, criterion and judge.

    A win is 1, a tie 1/2, a loss 0, and

        value_a = (mean of the replicates that show a first + mean of those that show b first) / 2
        value_b = 1 - value_a

    so a lost reply never tilts a question to one order. The winner is the one with the higher value. A question without
    a readable reply in both orders is invalid, with both values 0. `overall` is the mean of the other criteria but for
    `CONTROLS`; it comes last, and is ours: neither publication sums its criteria up.

    Returns:
        Verdicts by question, pair and judge in order of appearance.
    """
    groups: defaultdict[tuple, defaultdict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: {"ab": [], "ba": []})
    )
    for call in calls:
        group = groups[call.question_id, call.scope, call.system_a, call.system_b, call.judge][call.criterion]
        if call.winner != "invalid":
            group[call.order].append(POINTS[call.winner])
    folded = []
    for key, criteria in groups.items():
        values = {name: _both_orders(orders) for name, orders in criteria.items()}
        counted = [value for name, value in values.items() if name not in CONTROLS]
        if counted:
            values[OVERALL] = None if None in counted else fmean(counted)
        folded += [_verdict(key, name, value) for name, value in values.items()]
    return folded


def _both_orders(orders: Mapping[str, Sequence[float]]) -> float | None:
    return fmean(map(fmean, orders.values())) if all(orders.values()) else None


def _verdict(key: tuple, criterion: str, value: float | None) -> Verdict:
    question_id, scope, system_a, system_b, judge = key
    return Verdict(
        question_id=question_id,
        scope=scope,
        criterion=criterion,
        system_a=system_a,
        system_b=system_b,
        winner="invalid" if value is None else better(value, 1 - value),
        value_a=0.0 if value is None else value,
        value_b=0.0 if value is None else 1 - value,
        judge=judge,
    )
