"""The judge of RAG-Tuned-LLM's public code with its flaws, to see what the flaws are worth; no result to report.

What it does otherwise than `llm_judge`, each point on purpose:

- the tuned model is always answer A; the other order is never asked, and one reply decides;
- no tie is offered: a verdict with neither letter loses for A as it does for B;
- the format is free text and an example of it stands in the prompt, in one variant with "A" filled in everywhere;
- a verdict is searched for the letter "A" first: "A/B", "N/A" and "B, not Answer A" are wins of A, "Both" is one of B;
- replies are split at blank lines, while the format that it asks for has none: of a reply that keeps to the format the
  first criterion is read, and the others are dropped without a word. Here they are counted as invalid;
- answers stand between fixed lines, so one that holds such a line ends where it likes.

One thing differs: the original asks up to three times more when a reply cannot be split at all; here it is invalid.

Source: mindverse/rag-tuned-llm, evaluation/eval_news.py and eval_podcast.py (2025-03-20); the prompt is worded anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ragtune_lib.judges.llm_judge import PAPER, STAGE, Comparison, plan_judging
from ragtune_lib.judges.verdict_statistics import mean_win_rates
from ragtune_lib.llm import Call, Model, StageError, prompt
from ragtune_lib.prompt_files import template
from ragtune_lib.records import Answer, JudgeCall, Problem, Question, Verdict, Winner
from ragtune_lib.text import words

ASPECTS = dict(zip(("usefulness", "richness", "insight", "user"), PAPER.criteria, strict=True))  # how aspects begin


@dataclass(frozen=True, slots=True)
class Published:
    """What came of judging as published: `calls` holds comparisons x criteria, the unread ones as "invalid"."""

    calls: tuple[JudgeCall, ...]
    verdicts: tuple[Verdict, ...]
    problems: tuple[Problem, ...]


def lenient_winner(text: str) -> Winner:
    """Who wins by the published reading of a verdict: the letter A is looked for first, anywhere; else B, else nobody.

    >>> [lenient_winner(text) for text in ("B", "A/B", "N/A", "Both", "B, clearer than Answer A", "neither")]
    ['b', 'a', 'a', 'b', 'a', 'tie']
    """
    return "a" if "A" in text else "b" if "B" in text else "tie"


def lenient_verdicts(reply: str) -> dict[str, tuple[Winner, str]]:
    """Winner and reason of each criterion that the published parser finds in a reply; {} where it would fail.

    Asterisks go, blocks end at blank lines, a block's first line is "ASPECT: VERDICT" and its second "Reason: TEXT";
    what follows in a block is not read. One block without that form fails the whole reply.
    """
    found: dict[str, tuple[Winner, str]] = {}
    for block in reply.replace("*", "").split("\n\n"):
        lines = [line for line in block.split("\n") if line.strip()]
        if not lines:
            continue
        heads = [line.split(": ") for line in lines[:2]]
        if len(heads) < 2 or min(map(len, heads)) < 2:
            return {}
        aspect = re.sub(r"[^a-z].*", "", heads[0][0].strip().lower(), flags=re.DOTALL)
        criterion = next((name for start, name in ASPECTS.items() if aspect.startswith(start)), None)
        if criterion:
            found[criterion] = (lenient_winner(heads[0][1]), heads[1][1])
    return found


def published_calls(
    comparisons: Sequence[Comparison], example: Literal["A/B", "A"], max_tokens: int = 1024
) -> Iterator[Call]:
    """One call for each comparison with both answers, a's answer first; temperature 1, the endpoint's default."""
    for one in comparisons:
        if one.missing:
            continue
        body = template("published_pair").substitute(
            question=one.question.question, first=one.answer_a, second=one.answer_b, source=one.source
        )
        rules = template("published_rules").substitute(example=example)
        yield Call(_item(one), prompt(body, rules), max_tokens=max_tokens, temperature=1.0)


def judge_as_published(
    model: Model,
    questions: Sequence[Question],
    answers: Sequence[Answer],
    pairs: Sequence[tuple[str, str]],
    sources: Mapping[str, str] | None = None,
    example: Literal["A/B", "A"] = "A/B",
    stage: str = STAGE,
) -> Published:
    """Judge as the published code does: pairs as given, so name the tuned model first.

    Args:
        model: the judge; the original asks gpt-4o-mini.
        questions: held-out questions.
        answers: one for each question and system.
        pairs: (tuned, other).
        sources: by question id, the context, cut at 50,000 characters; None: the reference answer.
        example: what the format's example says: "A/B" for the news set, "A" for the podcasts.
        stage: for the problems.

    Returns:
        Records as of `llm_judge`, the judge named "... (as published)". A win is 1 for the winner, and neither letter
        is 0 for both: the published rate counts wins of A alone.

    Raises:
        StageError: if not one call succeeded.
    """
    comparisons = plan_judging(questions, answers, pairs, (PAPER,), sources).comparisons
    records: list[JudgeCall] = []
    problems: list[Problem] = []
    results = model.stream(stage, published_calls(comparisons, example))
    try:
        for one in comparisons:
            reply, why = "", f"no answer of {one.missing}"
            if not one.missing:
                result = next(results)
                reply = result.reply.text if result.reply else ""
                why = result.problem.reason if result.problem else "the published parser does not read it"
            found = lenient_verdicts(reply)
            unread = [criterion for criterion in PAPER.criteria if criterion not in found]
            if unread:
                problems.append(Problem(stage, _item(one), f"{why}: {', '.join(unread)}", reply))
            records += [
                _record(one, criterion, *found.get(criterion, ("invalid", why)), f"{model.name} (as published)")
                for criterion in PAPER.criteria
            ]
        next(results, None)
    except StageError as error:
        error.problems = error.problems or tuple(problems)
        raise
    return Published(tuple(records), tuple(map(_verdict, records)), tuple(problems))


def raw_against_published(ours: Sequence[Verdict], published: Sequence[Verdict]) -> list[dict[str, Any]]:
    """What the flaws are worth: the win rate as published beside that of both orders with ties.

    Returns:
        Rows {system, baseline, criterion, scope, judge, rate, n, published, published_n, difference} for what was
        judged both ways, in the order of `ours`; difference = published - rate.
    """
    names = ("system", "baseline", "criterion", "scope")
    other = {tuple(row[name] for name in names): row for row in mean_win_rates(published)}
    rows = []
    for row in mean_win_rates(ours):
        if found := other.get(tuple(row[name] for name in names)):
            rows.append(
                {name: row[name] for name in (*names, "judge", "rate", "n")}
                | {"published": found["rate"], "published_n": found["n"], "difference": found["rate"] - row["rate"]}
            )
    return rows


def _item(comparison: Comparison) -> str:
    return f"{comparison.question.id}, {comparison.system_a} against {comparison.system_b}, as published"


def _record(one: Comparison, criterion: str, winner: Winner, reason: str, judge: str) -> JudgeCall:
    return JudgeCall(
        question_id=one.question.id,
        scope=one.question.scope,
        criterion=criterion,
        system_a=one.system_a,
        system_b=one.system_b,
        order="ab",
        replicate=0,
        winner=winner,
        reason=reason,
        length_a=len(words(one.answer_a)),
        length_b=len(words(one.answer_b)),
        judge=judge,
    )


def _verdict(record: JudgeCall) -> Verdict:
    return Verdict(
        question_id=record.question_id,
        scope=record.scope,
        criterion=record.criterion,
        system_a=record.system_a,
        system_b=record.system_b,
        winner=record.winner,
        value_a=float(record.winner == "a"),
        value_b=float(record.winner == "b"),
        judge=record.judge,
    )
