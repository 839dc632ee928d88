"""Charts of what a judge model says and how far to trust it; returned, never shown."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ragtune_lib.judges.verdict_view import system_name
from ragtune_lib.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, blank_figure, name_rows, side_note

if TYPE_CHECKING:
    import plotly.graph_objects as go

Row = Mapping[str, Any]
BARS = "bars: 95 % bootstrap interval over questions"


def plot_judge_rates(
    controlled: Sequence[Row], published: Sequence[Row] = (), system: str = "rag_tuned", scope: str = "all"
) -> go.Figure:
    """Win rates of one system by criterion: as judged, as if answers were equally long, and as published.

    Args:
        controlled: from `judges.preference_models.length_controlled`.
        published: from `judges.verdict_statistics.mean_win_rates` over the verdicts of `judges.as_published`.
        system: whose rates.
        scope: of the questions.
    """
    chosen = [row for row in controlled if (row["system"], row["scope"]) == (system, scope)]
    as_published = {
        (row["baseline"], row["criterion"]): row
        for row in published
        if (row["system"], row["scope"]) == (system, scope) and row["n"]
    }
    figure = blank_figure(
        f"How often {system_name(system)} wins: as judged, length-controlled, as published",
        f"{_judges(chosen)} · {html.escape(scope)} questions, a tie is half a win · {BARS}",
        height=190 + 52 * len(chosen),
    )
    places = dict(enumerate(chosen))
    found = {at: as_published.get((row["baseline"], row["criterion"])) for at, row in places.items()}
    found = {at: row for at, row in found.items() if row}
    _dots(figure, "both orders, ties", BLUE, -0.22, places, ("rate", "low", "high"))
    names = ("controlled", "controlled_low", "controlled_high")
    _dots(figure, "the same, length-controlled", GREEN, 0.0, places, names)
    _dots(figure, "as published: tuned first, no ties, lenient parser", RED, 0.22, found, ("rate", "low", "high"), True)
    for at, row in places.items():
        text = f"<b>{row['rate']:.2f}</b> → {row['controlled']:.2f}  n={row['n']}, longer in {row['longer']:.0%}"
        if at in found:
            text += f"<br>published {found[at]['rate']:.2f}, n={found[at]['n']}"
        side_note(figure, 1.01, at, text)
    figure.add_vline(x=0.5, line={"dash": "dash", "color": "#555555", "width": 1})
    figure.update_xaxes(range=[-0.02, 1.02], title="win rate", tickformat=".1f")
    figure.update_layout(margin={"r": 250})
    several = len({row["judge"] for row in chosen}) > 1
    return name_rows(figure, [_label(system_name(row["baseline"]), row, several) for row in chosen])


def plot_positions(rows: Sequence[Row]) -> go.Figure:
    """Position consistency (left) and position bias (right) by criterion.

    Consistency 1: every verdict survives a change of places. Bias 0: neither place is favoured.

    Args:
        rows: from `judges.verdict_statistics.position_effects`.
    """
    places = {at: row for at, row in enumerate(rows) if row["matches"]}
    figure = blank_figure(
        "Does the judge keep its verdict when the answers change places?",
        f"{_judges(rows)} · {BARS}",
        height=190 + 34 * len(rows),
    )
    _dots(figure, "consistency", BLUE, 0.0, places, ("consistency", "consistency_low", "consistency_high"))
    _dots(figure, "bias", RED, 0.0, places, ("bias", "bias_low", "bias_high"), axis="x2")
    for at, row in enumerate(rows):
        text = f"n={row['matches']}, invalid {row['invalid']}<br>first {row['first']}, tie {row['tie']}, second "
        side_note(figure, 1.01, at, f"{text}{row['second']}")
    figure.add_shape(
        type="line", x0=0, x1=0, xref="x2", y0=0, y1=1, yref="paper",
        line={"dash": "dash", "color": "#555555", "width": 1},
    )  # fmt: skip
    figure.update_layout(
        margin={"r": 190}, showlegend=False,
        xaxis={"domain": [0, 0.46], "range": [-0.02, 1.02], "title": "same in both orders", "tickformat": ".1f"},
        xaxis2={
            "domain": [0.54, 1], "range": [-0.52, 0.52], "title": "P(first wins) - 0.5", "tickformat": "+.1f",
            "anchor": "y",
        },
    )  # fmt: skip
    several = len({row["judge"] for row in rows}) > 1
    return name_rows(figure, [_label("", row, several) for row in rows])


def plot_bradley_terry(rows: Sequence[Row], criterion: str = "overall", scope: str = "all") -> go.Figure:
    """Strength of every system on one scale, a colour per judge; rows from `judges.preference_models.bradley_terry`."""
    chosen = [row for row in rows if (row["criterion"], row["scope"]) == (criterion, scope)]
    systems = list(dict.fromkeys(row["system"] for row in chosen))
    judges = list(dict.fromkeys(row["judge"] for row in chosen))
    figure = blank_figure(
        f"Bradley-Terry strength ({html.escape(criterion)}, {html.escape(scope)} questions)",
        f"log-odds, mean 0: a lead of 1 wins 73 % of the questions · {BARS}",
        height=190 + 26 * len(systems) * max(1, len(judges)),
    )
    colours = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)
    for number, judge in enumerate(judges):
        shift = 0.22 * (number - (len(judges) - 1) / 2)
        mine = {systems.index(row["system"]): row for row in chosen if row["judge"] == judge}
        names = ("strength", "low", "high")
        _dots(figure, html.escape(judge), colours[number % len(colours)], shift, mine, names)
    for at, system in enumerate(systems):
        side_note(figure, 1.01, at, f"n={sum(row['n'] for row in chosen if row['system'] == system)}")
    figure.add_vline(x=0, line={"dash": "dash", "color": "#555555", "width": 1})
    figure.update_xaxes(title="strength")
    figure.update_layout(margin={"r": 90}, showlegend=True)
    return name_rows(figure, [system_name(system) for system in systems])


def plot_claims(rows: Sequence[Row], scope: str = "all") -> go.Figure:
    """Claims per answer of every system, and how many groups of unlike wording they fall into, by the distance allowed.

    Args:
        rows: from `judges.claims.claim_scores`.
        scope: of the questions.
    """
    chosen = [row for row in rows if row["scope"] == scope]
    figure = blank_figure("How much answers say", f"claims per answer, {html.escape(scope)} questions · {BARS}", 430)
    colours = (BLUE, GREEN, ORANGE, PURPLE, GREY)
    for number, metric in enumerate(dict.fromkeys(row["metric"] for row in chosen)):
        mine = [row for row in chosen if row["metric"] == metric]
        whole = metric == "claims"
        figure.add_bar(
            x=[system_name(row["system"]) for row in mine], y=[row["value"] for row in mine],
            name="claims" if whole else f"groups, distance up to {metric.rpartition('_')[2]}",
            marker={"color": colours[number % len(colours)]},
            error_y={
                "array": [row["high"] - row["value"] for row in mine],
                "arrayminus": [row["value"] - row["low"] for row in mine],
                "symmetric": False, "thickness": 1.5,
            },
            text=[f"{row['value']:.1f}<br>n={row['n']}" if whole else f"{row['value']:.1f}" for row in mine],
            textposition="inside", insidetextanchor="start", textangle=0,
        )  # fmt: skip
    figure.update_yaxes(title="per answer", rangemode="tozero")
    figure.update_layout(barmode="group")
    return figure


def _dots(
    figure: go.Figure,
    name: str,
    colour: str,
    shift: float,
    rows: Mapping[int, Row],
    fields: tuple[str, str, str],
    hollow: bool = False,
    axis: str = "x",
) -> None:
    """Points with intervals, one for each row at its place; `fields` name value, low and high."""
    if not rows:
        return
    value, low, high = fields
    figure.add_scatter(
        x=[row[value] for row in rows.values()], y=[at + shift for at in rows],
        error_x={
            "array": [row[high] - row[value] for row in rows.values()],
            "arrayminus": [row[value] - row[low] for row in rows.values()],
            "symmetric": False, "thickness": 1.5,
        },
        mode="markers", name=name, xaxis=axis,
        marker={"size": 10, "color": colour, "symbol": "diamond-open" if hollow else "circle"},
        hovertemplate="%{x:.3f}<extra>" + name + "</extra>",
    )  # fmt: skip


def _label(start: str, row: Row, with_judge: bool) -> str:
    parts = [start, html.escape(row["criterion"]), html.escape(row["judge"]) if with_judge else ""]
    return " · ".join(part for part in parts if part) + " "


def _judges(rows: Sequence[Row]) -> str:
    judges = dict.fromkeys(html.escape(row["judge"]) for row in rows)
    return f"judge: {', '.join(judges)}" if judges else "no verdicts"
