"""The sections of report.html: each a function of the run folder that returns HTML.

A function raises FileNotFoundError when its artifact is missing; the page then says who writes it.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ragtune_lib.judges.reference import JUDGE
from ragtune_lib.judges.verdict_view import SYSTEM_NAMES, pick_examples, reading
from ragtune_lib.page_html import details as _details
from ragtune_lib.page_html import figure as _figure
from ragtune_lib.page_html import table as _table
from ragtune_lib.page_judge import judge_model
from ragtune_lib.records import (
    Answer,
    Chunk,
    Community,
    Document,
    Entity,
    Flag,
    Problem,
    QAPair,
    Question,
    Relationship,
    TrainLog,
    Verdict,
    WinRate,
)
from ragtune_lib.store import read_records

Record = TypeVar("Record")
SYSTEM = "rag_tuned"
OPPONENT = "vanilla_rag"
PAIRS_SHOWN = 2  # of each kind
COMMUNITIES_SHOWN = 12


def verdict(folder: Path) -> str:
    """The headline in words, and one sentence for each opponent and scope; of several judges one after the other."""
    rates = _records(folder, "win_rates.jsonl", WinRate)
    mine = [rate for rate in rates if (rate.system, rate.criterion) == (SYSTEM, "overall")]
    judges = list(dict.fromkeys(rate.judge for rate in mine)) or ["none"]
    blocks = "\n".join(_judge_verdict(mine, judge) for judge in judges)
    return f"{blocks}\n<p>{html.escape(_question_note(folder))}</p>"


def _judge_verdict(rates: Sequence[WinRate], judge: str) -> str:
    own = [rate for rate in rates if rate.judge == judge]
    lines = "".join(f"<li>{_bold(reading(rate))}</li>" for rate in own if rate.scope != "unanswerable")
    return (
        f'<div class="verdict"><p><strong>{html.escape(headline(own, judge))}</strong></p>'
        f"<p>{html.escape(_judged_by(judge))}</p></div>\n<ul>{lines}</ul>"
    )


def headline(rates: Sequence[WinRate], judge: str = JUDGE) -> str:
    """Whether the tuned model, from memory alone, beats VanillaRAG; says plainly when that is not shown.

    A lead counts as shown when the interval lies above 0.5, as lost when it lies below.
    Other judges have no part in it.
    """
    found = {
        rate.scope: rate
        for rate in rates
        if (rate.system, rate.baseline, rate.criterion, rate.judge) == (SYSTEM, OPPONENT, "overall", judge) and rate.n
    }
    sentences = [_headline_sentence(found[scope]) for scope in ("local", "global") if scope in found]
    return " ".join(sentences) or "No question of this run compares the tuned model with VanillaRAG."


def _headline_sentence(rate: WinRate) -> str:
    figures = f"(win rate {rate.rate:.2f}, interval {rate.low:.2f} to {rate.high:.2f}, n = {rate.n})"
    if rate.low > 0.5:
        return f"From memory alone, the tuned model beats VanillaRAG on {rate.scope} questions {figures}."
    if rate.high < 0.5:
        return f"From memory alone, the tuned model loses to VanillaRAG on {rate.scope} questions {figures}."
    return f"On {rate.scope} questions this run does not show that either is better {figures}."


def _judged_by(judge: str) -> str:
    if judge == JUDGE:
        return "Judge: the reference judge, which counts facts, support and directness. It is not an LLM's opinion."
    return f"Judge: {judge}. Overall is the mean over its rubric's criteria, controls left out."


def _question_note(folder: Path) -> str:
    questions = _records(folder, "questions.jsonl", Question)
    scopes = Counter(question.scope for question in questions)
    counts = ", ".join(f"{count} {scope}" for scope, count in sorted(scopes.items()))
    origin = "written apart from the pairs, in the questions file of this run"
    if not _json(folder, "run.json").get("questions"):
        origin = (
            "generated from the same documents, apart from the training pairs, since no questions file was given: the "
            "facts were trained, these wordings were not. Such questions are easier than a person's"
        )
    return f"{len(questions)} held-out questions ({counts}), {origin}."


def win_rates(folder: Path) -> str:
    """Forest plot, shares, and all rates as a table."""
    from ragtune_lib.plots import plot_verdict_shares, plot_win_rates

    rates = _records(folder, "win_rates.jsonl", WinRate)
    rows = [
        (
            _system(rate.system), _system(rate.baseline), rate.scope, rate.criterion,
            f"{rate.rate:.3f}", f"{rate.low:.3f} to {rate.high:.3f}", rate.n, rate.ties, rate.invalid, rate.judge,
        )
        for rate in rates
    ]  # fmt: skip
    head = ("system", "against", "scope", "criterion", "rate", "95 % interval", "n", "ties", "unreadable", "judge")
    judges = dict.fromkeys(rate.judge for rate in rates)
    by_judge = [[rate for rate in rates if rate.judge == judge] for judge in judges]
    plots = (plot_win_rates, plot_verdict_shares)
    charts = "".join(_figure(plot(own, SYSTEM, "overall")) for own in by_judge or [[]] for plot in plots)
    every = _details("All pairs of systems and all criteria", _table(head, rows, "A tie counts as half a win."))
    return charts + every + judge_model(folder, SYSTEM)


def scores(folder: Path) -> str:
    """Charts of the main metrics, and all of them as a table."""
    from ragtune_lib.plots import plot_scores

    rows = _json(folder, "scores.json")
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    shown = [metric for metric in ("fact_recall", "support", "abstention") if metric in metrics]
    charts = "".join(_figure(plot_scores(rows, metric)) for metric in shown)
    cells = [(_system(row["system"]), row["scope"], row["metric"], f"{row['value']:.3f}", row["n"]) for row in rows]
    table = _table(("system", "scope", "metric", "value", "n"), cells, "All metrics; values lie between 0 and 1.")
    return charts + _details("All scores as a table", table)


def answers(folder: Path) -> str:
    """What every system answered to a few questions, next to the reference answer."""
    verdicts = _records(folder, "verdicts.jsonl", Verdict)
    questions = {question.id: question for question in _records(folder, "questions.jsonl", Question)}
    given: dict[str, list[Answer]] = {}
    for answer in _records(folder, "answers.jsonl", Answer):
        given.setdefault(answer.question_id, []).append(answer)
    outcome = {"a": "won against", "b": "lost to", "tie": "tied with", "invalid": "could not be compared with"}
    blocks = []
    judges = list(dict.fromkeys(one.judge for one in verdicts))
    for picked in [one for judge in judges for one in pick_examples(verdicts, SYSTEM, judge)]:
        question = questions[picked.question_id]
        rows = [(_system(answer.system), answer.text) for answer in _in_order(given.get(question.id, []))]
        by = f", says {picked.judge}" if len(judges) > 1 else ""
        caption = f"The tuned model {outcome[picked.winner]} {_system(picked.system_b)}{by}."
        blocks.append(
            f"<h3>{html.escape(question.question)}</h3><p>Reference ({html.escape(question.scope)}): "
            f"{html.escape(question.answer)}</p>" + _table(("system", "answer"), rows, caption)
        )
    return "".join(blocks) or "<p>No verdict of the tuned model.</p>"


def _in_order(found: Iterable[Answer]) -> list[Answer]:
    order = {name: place for place, name in enumerate(SYSTEM_NAMES)}
    return sorted(found, key=lambda answer: (order.get(answer.system, len(order)), answer.system))


def graph(folder: Path) -> str:
    """The pyvis page in a sandbox of its own, the counts, and the largest communities in words."""
    page = (folder / "graph.html").read_text(encoding="utf-8")
    entities = _records(folder, "entities.jsonl", Entity)
    relationships = _records(folder, "relationships.jsonl", Relationship)
    communities = _records(folder, "communities.jsonl", Community)
    largest = sorted(communities, key=lambda item: (item.level, -len(item.entity_ids), item.id))[:COMMUNITIES_SHOWN]
    rows = [(item.title, item.level, len(item.entity_ids), _short(item.summary, 240)) for item in largest]
    caption = f"The {len(largest)} largest of {len(communities)} communities, coarsest level first."
    return (
        f"<p>{len(entities):,} entities, {len(relationships):,} relationships, {len(communities):,} communities.</p>"
        f'<iframe sandbox="allow-scripts" title="Entity graph" loading="lazy" srcdoc="{html.escape(page)}"></iframe>'
        + _table(("community", "level", "entities", "from the documents"), rows, caption)
    )


def pairs(folder: Path) -> str:
    """Pairs by kind, what the checks found, how many a person has seen, and a few of each kind as cards."""
    from ragtune_lib.curation.card import pair_card
    from ragtune_lib.curation.marks import Sources
    from ragtune_lib.plots import plot_pairs

    made, kept = _records(folder, "pairs.jsonl", QAPair), _records(folder, "kept.jsonl", QAPair)
    flags = _records(folder, "flags.jsonl", Flag)
    sources = Sources(_records(folder, "chunks.jsonl", Chunk))
    seen = _json(folder, "metrics/04_curate.json")["seen"]  # decisions from elsewhere included
    found = Counter((flag.check, "left out" if flag.blocks else "noted") for flag in flags)
    rows = [(check, effect, count) for (check, effect), count in sorted(found.items())]
    writers = Counter(pair.writer for pair in made)
    written = ", ".join(f"{html.escape(writer)} {count:,}" for writer, count in writers.most_common())
    cards = "".join(
        pair_card(pair, sources, [flag for flag in flags if flag.pair_id == pair.id]) for pair in _sample(made)
    )
    return (
        _figure(plot_pairs(made, kept))
        + f"<p>A person has seen {seen:,} of {len(made):,} pairs; {len(kept):,} are used. "
        f"Questions written by: {written or 'nobody'}.</p>"
        + _table(("check", "effect", "findings"), rows, "What the checks found.")
        + "<h3>A few of each kind</h3>"
        + cards
    )


def _sample(made: Sequence[QAPair]) -> list[QAPair]:
    """The first pairs of each kind whose facts differ, in the order of the file."""
    chosen: list[QAPair] = []
    for kind in dict.fromkeys((pair.scope, pair.kind) for pair in made):
        of_kind = [pair for pair in made if (pair.scope, pair.kind) == kind]
        chosen += list({pair.fact_id: pair for pair in reversed(of_kind)}.values())[::-1][:PAIRS_SHOWN]
    return chosen


def training(folder: Path) -> str:
    """Loss curve, the figures of the log's last row, the configuration."""
    from ragtune_lib.plots import plot_loss

    log = _records(folder, "train_log.jsonl", TrainLog)
    config = _json(folder, "train_config.json")
    return _figure(plot_loss(log)) + _details("The configuration", _table(("setting", "value"), config.items()))


def opponents(folder: Path) -> str:
    """VanillaRAG's settings tried on validation questions, and how the corpus fits the long context."""
    from ragtune_lib.plots import plot_retrieval

    found = _json(folder, "retrieval.json")
    chart = _figure(plot_retrieval(found["grid"]))
    rest = [(name, value) for name, value in found.items() if name != "grid"]
    return chart + _table(("setting", "value"), rest, "What was chosen, and how the documents fit into the window.")


def cost(folder: Path) -> str:
    """Seconds, memory and counts by stage."""
    stages = _json(folder, "run.json")["stages"]
    rows = []
    for name, record in stages.items():
        counts = record.get("counts", {})
        figures = [counts.get(key, "") for key in ("in", "out", "problems")]
        rows.append((name, record["status"], record.get("seconds", ""), record.get("peak_mb", ""), *figures))
    total = sum(record.get("seconds", 0) for record in stages.values())
    caption = (
        f"{total:,.0f} seconds in all. Memory is the largest kernel from the start of that command to the end of the "
        "stage, so it only rises from stage to stage."
    )
    head = ("stage", "status", "seconds", "memory (MB)", "in", "out", "problems")
    others = [(name, key, value) for name, item in stages.items() for key, value in item.get("counts", {}).items()]
    figures = _table(("stage", "figure", "value"), others)
    return _table(head, rows, caption) + _details("Every figure that the stages report", figures)


def problems(folder: Path) -> str:
    """How many problems each stage has, and the first of them."""
    files = sorted((folder / "problems").glob("*.jsonl"))
    found = [problem for file in files for problem in _records(folder, f"problems/{file.name}", Problem)]
    if not found:
        return "<p>None.</p>"
    rows = [(problem.stage, _short(problem.item, 120), problem.reason) for problem in found[:50]]
    caption = f"{len(found)} problems" + (", the first 50 shown." if len(found) > 50 else ".")
    return _table(("stage", "item", "reason"), rows, caption)


def provenance(folder: Path) -> str:
    """Documents, parameters, versions, commit."""
    state = _json(folder, "run.json")
    documents = _records(folder, "documents.jsonl", Document)
    told = ("run", "documents", "graphrag", "questions", "seed", "git", "python", "platform")
    facts = {name: state.get(name) for name in told}
    facts |= {"documents read": len(documents), **state.get("versions", {})}
    parameters = [
        (stage, name, value) for stage, values in state.get("parameters", {}).items() for name, value in values.items()
    ]
    return _table(("what", "value"), facts.items()) + _details(
        "Parameters given to the notebooks; all others have the notebook's own default",
        _table(("notebook", "parameter", "value"), parameters),
    )


def limits(folder: Path) -> str:
    """What the figures do not say."""
    return """<ul>
<li>A win rate compares two systems on these questions and these documents. It says nothing about other documents.</li>
<li>Intervals are resampled over questions. They do not contain the chance of another training run.</li>
<li>The reference judge looks for accepted wordings of facts. A right answer in other words can count as wrong, and a
fact named by chance as right. It does not judge style, depth or usefulness.</li>
<li>All systems share one base model, but for baselines that were given a reader of their own. With a stronger reader,
retrieval and long context gain, and the order may change.</li>
<li>The tuned model knows the documents as they were when it was trained. A changed document needs a new run.</li>
</ul>"""


def _system(name: str) -> str:
    return SYSTEM_NAMES.get(name, name)


def _records(folder: Path, name: str, kind: type[Record]) -> list[Record]:
    if not (folder / name).exists():
        raise FileNotFoundError(2, "missing", str(folder / name))
    return read_records(folder / name, kind)


def _json(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def _bold(markdown: str) -> str:
    """Escaped text in which **words** are strong."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(markdown))


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length].rsplit(" ", 1)[0] + " …"
