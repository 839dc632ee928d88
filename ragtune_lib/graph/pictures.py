"""A drawing of the graph as a file for papers and reports: SVG, and PNG where a Chromium is installed."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ragtune_lib.graph.drawing import Drawing, Edge, Node
from ragtune_lib.graph.graphrag_export import NOT_IN_XML
from ragtune_lib.store import write_bytes, write_text

MARGIN = 40  # pixels around the picture
TEXT_PX, SMALL_PX = 15, 12
LETTER_PX = 7.2  # of a line of the legend, roughly
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 120  # that a browser may take for one picture


def svg(drawing: Drawing) -> str:
    """The drawing as one SVG file: the same input, the same bytes. Names are text, so they can be searched and edited.

    Hovering a node or a line shows its tooltip where the viewer can.
    """
    at = {node.id: node for node in drawing.nodes}
    left, top, right, bottom = _extent(drawing)
    legend = _legend(drawing, left, bottom)
    width, height = right - left, bottom - top + _legend_height(drawing)
    body = "\n".join(
        [
            *(_line(edge, at[edge.source], at[edge.target]) for edge in drawing.edges),
            *(_circle(node) for node in drawing.nodes),
            *(_edge_label(edge, at[edge.source], at[edge.target]) for edge in drawing.edges if edge.label),
            *(_name(node) for node in drawing.nodes),
            *legend,
        ]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.1f} {top:.1f} {width:.1f} {height:.1f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="system-ui, sans-serif" role="img">\n'
        f"<title>{_text(drawing.caption)}</title>\n"
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#ffffff"/>\n'
        f"{body}\n</svg>\n"
    )


def write_svg(path: Path, drawing: Drawing) -> None:
    """Write the drawing as SVG, replacing the file as a whole."""
    write_text(path, svg(drawing))


def write_png(path: Path, drawing: Drawing, width_px: int = 1600) -> None:
    """Write the drawing as PNG, with the Chromium of this machine; nothing is loaded from elsewhere.

    Args:
        path: the file, replaced as a whole.
        drawing: what to draw.
        width_px: of the picture, at least 1; its height follows.

    Raises:
        RuntimeError: where there is no Chromium, or it draws nothing. The SVG needs none.
    """
    browser = find_browser()
    if not browser:
        raise RuntimeError(
            "a PNG needs Chromium or Chrome (apt-get install chromium), or BROWSER_PATH set to one; "
            "write_svg needs neither"
        )
    picture = svg(drawing)
    width, height = (float(value) for value in re.findall(r'(?:width|height)="(\d+)"', picture)[:2])
    scaled = re.sub(r'width="\d+" height="\d+"', f'width="{width_px}"', picture, count=1)
    page = f"<!doctype html><meta charset='utf-8'><style>body{{margin:0}}svg{{display:block}}</style>{scaled}"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "graph.html"), Path(folder, "graph.png")
        write_text(source, page)
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        size = f"--window-size={width_px},{max(1, round(width_px * height / max(width, 1)))}"
        fixed = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"]
        command = [browser, *fixed, *root, f"--user-data-dir={folder}/profile", size, f"--screenshot={target}"]
        try:
            done = subprocess.run([*command, source.as_uri()], capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{browser} drew no picture in {SECONDS} s; write_svg needs no browser") from error
        if not target.is_file():
            told = done.stderr.decode(errors="replace").strip()[-300:]
            raise RuntimeError(f"{browser} drew no picture ({told}); write_svg needs no browser")
        write_bytes(path, [target.read_bytes()])


def find_browser() -> str:
    """Path of a Chromium or Chrome: $BROWSER_PATH, or the first on the path; "" where there is none."""
    named = os.environ.get("BROWSER_PATH", "")
    return named or next((found for name in BROWSERS if (found := shutil.which(name))), "")


def _extent(drawing: Drawing) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of everything that is drawn, with a margin."""
    boxes = [
        (node.x - half, node.y - node.size, node.x + half, node.y + node.size + TEXT_PX * 1.4)
        for node in drawing.nodes
        for half in [max(node.size, len(node.label) * LETTER_PX / 2)]
    ] or [(0, 0, 0, 0)]
    left, top = (min(box[side] for box in boxes) - MARGIN for side in (0, 1))
    right, bottom = (max(box[side] for box in boxes) + MARGIN for side in (2, 3))
    widest = max((len(meaning) for _, meaning in drawing.colouring.legend), default=0)
    needed = max(400, LETTER_PX * max(len(drawing.caption), widest + 6) + 2 * MARGIN)
    return left, top, max(right, left + needed), bottom


def _line(edge: Edge, source: Node, target: Node) -> str:
    title = f"<title>{_text(edge.title)}</title>"
    look = f'fill="none" stroke="#b9c0c9" stroke-width="{edge.width:g}"'
    if source is target:
        loop = max(14.0, source.size)
        return f'<circle cx="{source.x + loop:g}" cy="{source.y - loop:g}" r="{loop:g}" {look}>{title}</circle>'
    ends = f'x1="{source.x:g}" y1="{source.y:g}" x2="{target.x:g}" y2="{target.y:g}"'
    return f"<line {ends} {look}>{title}</line>"


def _circle(node: Node) -> str:
    look = f'r="{node.size:g}" fill="{node.colour}" stroke="#5f6670"'
    return f'<circle cx="{node.x:g}" cy="{node.y:g}" {look}><title>{_text(node.title)}</title></circle>'


def _name(node: Node) -> str:
    return _label(node.x, node.y + node.size + TEXT_PX, TEXT_PX, "#1c1e21", node.label)


def _edge_label(edge: Edge, source: Node, target: Node) -> str:
    x, y = (source.x + target.x) / 2, (source.y + target.y) / 2
    if source is target:
        x, y = x + 2 * source.size, y - 2 * max(14.0, source.size)
    lines = edge.label.split("\n")
    return "\n".join(_label(x, y + at * SMALL_PX, SMALL_PX, "#454a52", line) for at, line in enumerate(lines))


def _label(x: float, y: float, size: int, colour: str, text: str) -> str:
    look = f'font-size="{size}" fill="{colour}" text-anchor="middle" stroke="#ffffff" stroke-width="3"'
    return f'<text x="{x:g}" y="{y:g}" {look} paint-order="stroke">{_text(text)}</text>'


def _legend_height(drawing: Drawing) -> float:
    return (len(drawing.colouring.legend) + 2) * 20 + MARGIN


def _legend(drawing: Drawing, left: float, top: float) -> list[str]:
    """The lines below the picture: what it is, then the colours."""
    told = f"Colour: {drawing.colouring.heading}" if drawing.colouring.heading else ""
    x, rows = left + MARGIN, [("", drawing.caption), ("", told), *drawing.colouring.legend]
    parts = []
    for number, (colour, meaning) in enumerate(row for row in rows if row[1]):
        y = top + number * 20
        if colour:
            dot = f'cx="{x + 7:g}" cy="{y - 5:g}" r="6" fill="{colour}" stroke="#5f6670"'
            parts.append(f"<circle {dot}/>")
        parts.append(f'<text x="{x + (20 if colour else 0):g}" y="{y:g}" font-size="14">{_text(meaning)}</text>')
    return parts


def _text(text: str) -> str:
    """Escaped, without what XML cannot hold."""
    return html.escape(NOT_IN_XML.sub("\ufffd", text))
