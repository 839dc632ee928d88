"""Every chart of the workbench, as plotly figures; returned, never shown.

Colours are Okabe and Ito's palette (jfly.uni-koeln.de/color), which colour-blind readers can tell apart. All sizes
are for a page of 900 px.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragtune_lib.judges.verdict_view import SYSTEM_NAMES, system_name
from ragtune_lib.records import QAPair, TrainLog, WinRate
from ragtune_lib.score import wins_and_losses

if TYPE_CHECKING:
    import plotly.graph_objects as go

WIDTH = 900
GREEN, ORANGE, BLUE, GREY, PURPLE, RED = "#009E73", "#E69F00", "#0072B2", "#B3B3B3", "#CC79A7", "#D55E00"
SCOPE_COLOURS = {"local": BLUE, "global": ORANGE, "unanswerable": PURPLE, "unseen": GREEN, "all": "#000000"}
JUDGES = {"reference": "reference judge: facts, support, directness; not an LLM's opinion"}
METRIC_NAMES = {
    "fact_recall": "Fact recall",
    "f1": "Token F1",
    "em": "Exact match",
    "support": "Answer sentences backed by the corpus",
    "abstention": "Abstention on unanswerable questions",
    "false_abstention": "Abstention on answerable questions (lower is better)",
    "context_recall": "Evidence among the chunks read",
}


def plot_win_rates(rates: Sequence[WinRate], system: str = "rag_tuned", criterion: str = "overall") -> go.Figure:
    """Forest plot: win rate of one system against each baseline and scope, with intervals, n, ties and invalid.

    Rows without any judged question keep their label and have no point.
    """
    chosen = _chosen(rates, system, criterion)
    figure = blank_figure(
        f"How often {system_name(system)} wins ({html.escape(criterion)}; a tie is half a win)",
        f"{_judge_note(chosen)} · bars: 95 % bootstrap interval over questions",
        height=150 + 34 * len(chosen),
    )
    for scope in dict.fromkeys(rate.scope for rate in chosen):
        rows = [(place, rate) for place, rate in enumerate(chosen) if rate.scope == scope and rate.n]
        if not rows:
            continue
        figure.add_scatter(
            x=[rate.rate for _, rate in rows],
            y=[place for place, _ in rows],
            error_x={
                "array": [rate.high - rate.rate for _, rate in rows],
                "arrayminus": [rate.rate - rate.low for _, rate in rows],
                "symmetric": False, "thickness": 2,
            },
            mode="markers", marker={"size": 11, "color": _scope_colour(scope)}, name=scope,
            hovertemplate="%{x:.3f}<extra></extra>",
        )  # fmt: skip
    for place, rate in enumerate(chosen):
        side_note(figure, 1.01, place, _counts(rate))
    figure.add_vline(x=0.5, line={"dash": "dash", "color": "#555555", "width": 1})
    figure.update_xaxes(range=[-0.02, 1.02], title="win rate", tickformat=".1f")
    figure.update_layout(margin={"r": 300}, showlegend=False)
    return name_rows(figure, _row_names(chosen))


def plot_verdict_shares(rates: Sequence[WinRate], system: str = "rag_tuned", criterion: str = "overall") -> go.Figure:
    """Bars of 100 %: won, tied and lost questions of one system against each baseline and scope, counts inside."""
    chosen = _chosen(rates, system, criterion)
    figure = blank_figure(
        f"Questions won, tied and lost by {system_name(system)} ({html.escape(criterion)})",
        _judge_note(chosen),
        height=180 + 34 * len(chosen),
    )
    counts = [(wins_and_losses(rate)[0], rate.ties, wins_and_losses(rate)[1]) for rate in chosen]
    for name, colour, column in (("won", GREEN, 0), ("tied", GREY, 1), ("lost", RED, 2)):
        figure.add_bar(
            orientation="h", name=name, marker={"color": colour}, y=list(range(len(chosen))),
            x=[row[column] / sum(row) if sum(row) else 0 for row in counts],
            text=[str(row[column]) if row[column] else "" for row in counts],
            textposition="inside", insidetextanchor="middle", textangle=0,
            hovertemplate="%{x:.1%}<extra>" + name + "</extra>",
        )  # fmt: skip
    for place, rate in enumerate(chosen):
        side_note(figure, 1.01, place, f"n={rate.n}, invalid {rate.invalid}")
    figure.add_vline(x=0.5, line={"dash": "dash", "color": "#555555", "width": 1})
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_layout(barmode="stack", margin={"r": 130}, legend={"traceorder": "normal"})
    return name_rows(figure, _row_names(chosen))


def plot_win_matrix(rates: Sequence[WinRate], criterion: str = "overall", scope: str = "all") -> go.Figure:
    """Win rate of every system (row) against every other (column); each pair is mirrored, the diagonal blank.

    A matrix shows one judge: of several the one that comes first in `rates`.
    """
    chosen = [rate for rate in rates if (rate.criterion, rate.scope) == (criterion, scope)]
    chosen = [rate for rate in chosen if rate.judge == chosen[0].judge]
    known = {rate.system for rate in chosen} | {rate.baseline for rate in chosen}
    systems = [name for name in SYSTEM_NAMES if name in known] + sorted(known - set(SYSTEM_NAMES))
    value = {(rate.system, rate.baseline): rate.rate for rate in chosen if rate.n}
    value |= {(b, a): 1 - rate for (a, b), rate in value.items() if (b, a) not in value}
    cells = [[value.get((row, column)) for column in systems] for row in systems]
    figure = blank_figure(
        f"Win rate of the row against the column ({html.escape(criterion)}, {_scope_words(scope)})",
        _judge_note(chosen),
        height=220 + 52 * len(systems),
    )
    labels = [system_name(name) for name in systems]
    figure.add_heatmap(
        z=cells, x=labels, y=labels, zmin=0, zmax=1, colorscale="PuOr", xgap=2, ygap=2,
        text=[["" if cell is None else f"{cell:.2f}" for cell in row] for row in cells],
        texttemplate="%{text}", hovertemplate="%{y} against %{x}: %{z:.3f}<extra></extra>",
        colorbar={"title": "win rate", "tickformat": ".1f"},
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    return figure


def plot_scores(scores: Sequence[dict], metric: str) -> go.Figure:
    """One absolute metric for each system and scope, with intervals and n; rows as `score.scores` gives them."""
    chosen = [row for row in scores if row["metric"] == metric]
    systems = list(dict.fromkeys(row["system"] for row in chosen))
    figure = blank_figure(
        METRIC_NAMES.get(metric, html.escape(metric)), "bars: 95 % bootstrap interval over questions", 430
    )
    for scope in dict.fromkeys(row["scope"] for row in chosen):
        rows = [row for row in chosen if row["scope"] == scope]
        rows.sort(key=lambda row: systems.index(row["system"]))
        figure.add_bar(
            x=[system_name(row["system"]) for row in rows], y=[row["value"] for row in rows], name=scope,
            marker={"color": "#555555" if scope == "all" else _scope_colour(scope)},
            error_y={
                "array": [row["high"] - row["value"] for row in rows],
                "arrayminus": [row["value"] - row["low"] for row in rows],
                "symmetric": False, "thickness": 1.5,
            },
            text=[f"{row['value']:.2f}<br>n={row['n']}" for row in rows],
            textposition="inside", insidetextanchor="start", textangle=0,
            hovertemplate="%{x}: %{y:.3f}<extra>" + html.escape(scope) + "</extra>",
        )  # fmt: skip
    figure.update_yaxes(range=[0, 1.05], tickformat=".1f")
    figure.update_layout(barmode="group")
    return figure


def plot_loss(train_log: Sequence[TrainLog]) -> go.Figure:
    """Training loss by optimizer step; tokens on hover, and in the subtitle how many there were in all."""
    last = max(train_log, key=lambda row: row.step, default=None)
    subtitle = "no step was logged"
    if last:
        rate = f", {last.tokens / last.seconds:,.0f} tokens per second" if last.seconds else ""
        subtitle = f"{last.step} of {last.steps} steps, {last.tokens:,} tokens, {last.padding:.1%} padding{rate}"
    figure = blank_figure("Training loss on the answer's tokens", subtitle, 400)
    rows = sorted(train_log, key=lambda row: row.step)
    figure.add_scatter(
        x=[row.step for row in rows], y=[row.loss for row in rows], customdata=[row.tokens for row in rows],
        mode="lines+markers" if len(rows) < 60 else "lines", line={"color": BLUE, "width": 2}, name="loss",
        hovertemplate="step %{x}: loss %{y:.3f}<br>%{customdata:,} tokens seen<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="optimizer step")
    figure.update_yaxes(title="loss (nats per token)", rangemode="tozero")
    figure.update_layout(showlegend=False)
    return figure


def plot_pairs(pairs: Sequence[QAPair], kept: Sequence[QAPair]) -> go.Figure:
    """Synthetic pairs by scope and kind: how many are used for training, how many were left out."""
    kept_ids = {pair.id for pair in kept}
    used = Counter((pair.scope, pair.kind) for pair in pairs if pair.id in kept_ids)
    every = Counter((pair.scope, pair.kind) for pair in pairs)
    groups = sorted(every, key=lambda group: (group[0] != "local", group[1]))
    figure = blank_figure(
        "Question-answer pairs by scope and kind",
        f"{len(pairs):,} written, {sum(used.values()):,} used for training",
        height=180 + 30 * len(groups),
    )
    left = [every[group] - used[group] for group in groups]
    for name, colour, values in (("used", GREEN, [used[group] for group in groups]), ("left out", GREY, left)):
        figure.add_bar(
            orientation="h", name=name, x=values, y=list(range(len(groups))), marker={"color": colour},
            text=[str(value) if value else "" for value in values], textposition="auto", textangle=0,
        )  # fmt: skip
    figure.update_xaxes(title="pairs")
    figure.update_layout(barmode="stack", legend={"traceorder": "normal"})
    return name_rows(figure, [html.escape(f"{scope} · {kind}") for scope, kind in groups])


def plot_retrieval(rows: Sequence[dict]) -> go.Figure:
    """VanillaRAG's settings tried on validation questions; a star marks the best, the first of equals.

    Args:
        rows: one dict for each setting with retriever, chunk_tokens, top_k, value in [0, 1] and n.
    """
    best = max(rows, key=lambda row: row["value"], default=None)
    subtitle = "no setting was tried"
    if best:
        subtitle = (
            f"best: {html.escape(best['retriever'])}, chunks of {best['chunk_tokens']} tokens, top {best['top_k']}: "
            f"{best['value']:.2f} (n={best['n']})"
        )
    figure = blank_figure("VanillaRAG on validation questions", subtitle, 430)
    colours = {"bm25": BLUE, "dense": ORANGE, "hybrid": GREEN}
    dashes = dict(zip(sorted({row["chunk_tokens"] for row in rows}), ("solid", "dash", "dot") * 9, strict=False))
    for retriever, size in sorted({(row["retriever"], row["chunk_tokens"]) for row in rows}):
        line = [row for row in rows if (row["retriever"], row["chunk_tokens"]) == (retriever, size)]
        line.sort(key=lambda row: row["top_k"])
        figure.add_scatter(
            x=[row["top_k"] for row in line], y=[row["value"] for row in line], mode="lines+markers",
            line={"color": colours.get(retriever, "#000000"), "dash": dashes[size]}, marker={"size": 8},
            name=f"{html.escape(retriever)}, {size} tokens",
        )  # fmt: skip
    if best:
        star = {"symbol": "star", "size": 18, "color": RED}
        figure.add_scatter(x=[best["top_k"]], y=[best["value"]], mode="markers", marker=star, name="best")
    figure.update_xaxes(title="chunks read (top k)", tickvals=sorted({row["top_k"] for row in rows}))
    figure.update_yaxes(title="value", range=[0, 1.05])
    return figure


def blank_figure(title: str, subtitle: str, height: int) -> go.Figure:
    """An empty figure: title and subtitle at the top left, legend below the plot, so they never overlap."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="plotly_white", width=WIDTH, height=height, font={"size": 13},
        title={
            "text": title, "subtitle": {"text": subtitle},
            "x": 0.01, "xanchor": "left", "y": 0.97, "yanchor": "top",
        },
        margin={"t": 80, "l": 60, "r": 30, "b": 80},
        legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    return figure


def _chosen(rates: Sequence[WinRate], system: str, criterion: str) -> list[WinRate]:
    return [rate for rate in rates if (rate.system, rate.criterion) == (system, criterion)]


def name_rows(figure: go.Figure, labels: Sequence[str]) -> go.Figure:
    """Name the numeric rows of a horizontal chart, the first on top."""
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=list(labels), range=[len(labels) - 0.5, -0.5], automargin=True
    )
    return figure


def side_note(figure: go.Figure, x: float, y: float, text: str) -> None:
    """A text beside the plot, at the height of row `y`."""
    figure.add_annotation(x=x, xref="paper", xanchor="left", y=y, yref="y", text=text, showarrow=False, align="left")


def _counts(rate: WinRate) -> str:
    if not rate.n:
        return f"nothing to judge, n=0, invalid {rate.invalid}"
    interval = f"<b>{rate.rate:.2f}</b> [{rate.low:.2f}, {rate.high:.2f}]"
    return f"{interval}  n={rate.n}, ties {rate.ties}, invalid {rate.invalid}"


def _row_names(rates: Sequence[WinRate]) -> list[str]:
    """Baseline and scope; the judge too where there are several."""
    several = len({rate.judge for rate in rates}) > 1
    names = [f"{system_name(rate.baseline)} · {html.escape(rate.scope)} " for rate in rates]
    return [f"{name}· {html.escape(rate.judge)} " if several else name for name, rate in zip(names, rates, strict=True)]


def _scope_words(scope: str) -> str:
    return "all questions" if scope == "all" else f"{html.escape(scope)} questions"


def _scope_colour(scope: str) -> str:
    return SCOPE_COLOURS.get(scope, "#000000")


def _judge_note(rates: Sequence[WinRate]) -> str:
    judges = dict.fromkeys(rate.judge for rate in rates)
    return "; ".join(JUDGES.get(judge, f"judge: {html.escape(judge)}") for judge in judges) or "no verdicts"
