"""Charts, tables and folded parts of report.html."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ragtune_lib.store import content_id

if TYPE_CHECKING:
    import plotly.graph_objects as go


def figure(chart: go.Figure) -> str:
    """A chart without plotly.js, which the page holds once."""
    name = f"chart-{content_id(chart.to_json())}"  # not a random one: the same artifacts give the same page
    options = {"displaylogo": False, "responsive": True}
    return chart.to_html(full_html=False, include_plotlyjs=False, include_mathjax=False, div_id=name, config=options)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """An accessible table; cells are escaped, numbers set to the right, nested values shown as JSON."""
    top = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(cells: Sequence[Any]) -> str:
    first, *others = [_cell(cell) for cell in cells]
    numbers = [isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells[1:]]
    return f'<th scope="row">{first}</th>' + "".join(
        f'<td class="number">{cell}</td>' if number else f"<td>{cell}</td>"
        for cell, number in zip(others, numbers, strict=True)
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return html.escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def details(title: str, body: str) -> str:
    """What is folded away until somebody wants it; the body is HTML."""
    return f"<details><summary>{html.escape(title)}</summary>{body}</details>"
