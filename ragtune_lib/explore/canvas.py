"""The canvas of the explorer: vis-network in a notebook cell, and what was clicked on it.

Importing this module loads anywidget and ipywidgets. The script of vis-network is the one inside the installed pyvis,
so nothing is loaded from elsewhere.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ragtune_lib.explore.drawing import BORDER, LINE, OPTIONS, Drawing

NOBODY = "\n"  # in the place of a node id; "" is one, see overview.LOOSE
VIS = Path("templates", "lib", "vis-9.1.2", "vis-network.min.js")


def _script() -> str:
    """Our module with vis-network before it, which thinks that it is loaded as a CommonJS module."""
    found = importlib.util.find_spec("pyvis")
    if found is None or found.origin is None:
        raise ImportError("pyvis is not installed: the graph cannot be drawn; run `pip install pyvis`")
    vis = Path(found.origin).with_name(str(VIS.parts[0])).joinpath(*VIS.parts[1:])
    library = vis.read_text(encoding="utf-8")
    own = Path(__file__).with_name("canvas.js").read_text(encoding="utf-8")
    wrapped = f"const vis = {{}};\n(function (exports, module, define) {{\n{library}\n}})(vis, {{}}, undefined);\n"
    return wrapped + own


def _coloured(colour: str) -> dict[str, Any]:
    """What is chosen or pointed at keeps its colour and gets a dark border."""
    strong = {"background": colour, "border": "#1c1e21"}
    return {"background": colour, "border": BORDER, "highlight": strong, "hover": strong}


class GraphCanvas(anywidget.AnyWidget):
    """A drawing that can be zoomed, dragged and clicked.

    Args:
        on_click: called with "node", "open" (a double click) or "edge", and the id of what was clicked.
        height_px: of the canvas.
    """

    _esm = _script()
    picture = traitlets.Dict().tag(sync=True)
    marked = traitlets.Unicode(NOBODY).tag(sync=True)  # id of the node to show as chosen
    options = traitlets.Dict(OPTIONS).tag(sync=True)
    height_px = traitlets.Int(560).tag(sync=True)

    def __init__(self, on_click: Callable[[str, str], None], height_px: int = 560):
        super().__init__(height_px=height_px)
        self.on_msg(lambda _, message, __: self._clicked(message, on_click))

    def _clicked(self, message: Any, on_click: Callable[[str, str], None]) -> None:
        kind, one = (message.get("kind"), message.get("id")) if isinstance(message, dict) else (None, None)
        if kind in ("node", "open", "edge") and isinstance(one, str):
            on_click(kind, one)

    def show(self, drawing: Drawing) -> None:
        """Paint a drawing."""
        nodes = [
            {
                "id": node.id, "label": node.label, "title": node.title, "x": node.x, "y": node.y, "size": node.size,
                "shape": "dot", "color": _coloured(node.colour),
            }
            for node in drawing.nodes
        ]  # fmt: skip
        edges = [
            {
                "id": edge.id, "from": edge.source, "to": edge.target, "title": edge.title, "width": edge.width,
                "color": LINE, **({"label": edge.label} if edge.label else {}),
            }
            for edge in drawing.edges
        ]  # fmt: skip
        self.marked = NOBODY
        self.picture = {"nodes": nodes, "edges": edges, "caption": drawing.caption}
