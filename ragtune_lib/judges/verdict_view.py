"""What a reader sees of the verdicts besides charts: sentences made from numbers, and answers side by side."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from ragtune_lib.judges.reference import JUDGE
from ragtune_lib.records import Answer, Question, Verdict, WinRate
from ragtune_lib.score import sign_test, wins_and_losses

SYSTEM_NAMES = {
    "rag_tuned": "RAG-tuned (memory only)",
    "rag_tuned_rag": "RAG-tuned + retrieval",
    "vanilla_rag": "VanillaRAG",
    "long_context": "Long context",
    "base": "Base, closed book",
    "vanilla_rag_published": "VanillaRAG as published (three sentences)",
    "vanilla_rag_uncapped": "VanillaRAG as published, length as all",
    "long_context_api": "Long context, other reader",
    **{f"graphrag_local_c{level}": f"GraphRAG local, C{level}" for level in range(4)},
    **{f"graphrag_global_c{level}": f"GraphRAG global, C{level}" for level in range(4)},
}
_FRAME = "border:1px solid #d9d9d9;border-radius:6px;padding:10px 14px;margin:0 0 14px;max-width:860px"
_CELL = "flex:1 1 240px;border-left:4px solid {colour};padding:2px 10px;white-space:pre-wrap;overflow-wrap:anywhere"


def system_name(system: str) -> str:
    """Name of a system for people; an unknown one keeps its own name, escaped."""
    return SYSTEM_NAMES.get(system, html.escape(system))


def reading(rate: WinRate) -> str:
    """One sentence of Markdown that says what a win rate shows, and plainly when it does not show a lead."""
    where = "all questions" if rate.scope == "all" else f"{rate.scope} questions"
    pair = f"**{system_name(rate.system)}** against **{system_name(rate.baseline)}** on {where}"
    unread = f" {rate.invalid} could not be judged (an answer is missing or blank)." if rate.invalid else ""
    if not rate.n:
        return f"{pair}: nothing to compare.{unread}"
    if rate.low > 0.5:
        verdict = "the interval lies above 0.5: it wins more often than it loses"
    elif rate.high < 0.5:
        verdict = "the interval lies below 0.5: **it loses** more often than it wins"
    else:
        verdict = "the interval does **not** lie above 0.5: these questions show no lead"
    wins, losses = wins_and_losses(rate)
    return (
        f"{pair}: win rate {rate.rate:.2f} [{rate.low:.2f}, {rate.high:.2f}] "
        f"({wins} won, {rate.ties} tied, {losses} lost, n={rate.n}; sign test p={sign_test(wins, losses):.2g}); "
        f"{verdict}.{unread}"
    )


def readings(rates: Sequence[WinRate], system: str, criterion: str = "overall") -> str:
    """A Markdown list with one reading for each baseline and scope of one system; of several judges a list each."""
    chosen = [rate for rate in rates if (rate.system, rate.criterion) == (system, criterion)]
    if not chosen:
        return f"No verdicts for {system_name(system)} by {html.escape(criterion)}."
    judges = list(dict.fromkeys(rate.judge for rate in chosen))
    lists = ["\n".join(f"- {reading(rate)}" for rate in chosen if rate.judge == judge) for judge in judges]
    if len(judges) == 1:
        return lists[0]
    told = zip(judges, lists, strict=True)
    return "\n\n".join(f"Judge: {html.escape(judge)}\n\n{readings_of_judge}" for judge, readings_of_judge in told)


def score_table(scores: Sequence[dict]) -> list[dict]:
    """Rows for a table: one for each system and scope, a column for each metric holding "value [low, high] n=...".

    Rows and columns are in the order of `scores`.
    """
    table: dict[tuple[str, str], dict] = {}
    for row in scores:
        cells = table.setdefault((row["system"], row["scope"]), {"system": row["system"], "scope": row["scope"]})
        cells[row["metric"]] = f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] n={row['n']}"
    return list(table.values())


def pick_examples(verdicts: Sequence[Verdict], system: str, judge: str = JUDGE) -> list[Verdict]:
    """One overall win, one loss and one tie of a system, as far as there are any; the first of each in file order.

    The first baseline that the system was compared with is preferred. A tie in which both cover a fact says more than
    one in which both fail, so such a tie is preferred too. Only verdicts of one judge are looked at.
    """
    wanted = (system, "overall", judge)
    mine = [verdict for verdict in verdicts if (verdict.system_a, verdict.criterion, verdict.judge) == wanted]
    mine = sorted(mine, key=lambda verdict: verdict.system_b != mine[0].system_b)
    picked = []
    for winner in ("a", "b", "tie"):
        found = [verdict for verdict in mine if verdict.winner == winner]
        found.sort(key=lambda verdict: winner == "tie" and verdict.value_a == 0)
        picked += found[:1]
    return picked


def question_card(
    verdict: Verdict, questions: Mapping[str, Question], answers: Mapping[tuple[str, str], Answer]
) -> str:
    """HTML of one question with the two answers side by side and who won; everything escaped.

    Args:
        verdict: an overall verdict.
        questions: by id.
        answers: by (question id, system).
    """
    question = questions[verdict.question_id]
    outcome = {
        "a": f"{system_name(verdict.system_a)} wins",
        "b": f"{system_name(verdict.system_b)} wins",
        "tie": "Tie",
        "invalid": "Not judged",
    }[verdict.winner]
    facts = "; ".join(" / ".join(wordings) for wordings in question.facts) or "none: the corpus does not answer it"
    cells = "".join(
        f'<div style="{_CELL.format(colour="#009E73" if verdict.winner == side else "#d9d9d9")}">'
        f"<b>{system_name(system)}</b>\n{_text(answers.get((question.id, system)))}</div>"
        for side, system in (("a", verdict.system_a), ("b", verdict.system_b))
    )
    return (
        f'<div style="{_FRAME}"><div><b>{html.escape(outcome)}</b> &middot; {html.escape(question.scope)}</div>'
        f'<div style="font-size:1.1em;margin:6px 0">{html.escape(question.question)}</div>'
        f'<div style="margin-bottom:8px;opacity:.8">Reference: {html.escape(question.answer)}<br>'
        f"Facts: {html.escape(facts)}</div>"
        f'<div style="display:flex;flex-wrap:wrap;gap:12px">{cells}</div></div>'
    )


def _text(answer: Answer | None) -> str:
    return html.escape(answer.text.strip()) if answer and answer.text.strip() else "<i>no answer</i>"
