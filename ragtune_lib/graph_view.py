"""The graph as HTML that works offline and shows hostile text as plain text."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ragtune_lib.explore.colours import Colouring, by_community, by_group, legend_list
from ragtune_lib.explore.drawing import BORDER, LINE, OPTIONS, Drawing, draw
from ragtune_lib.records import Community, Entity, Relationship

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
PAGE_STYLE = f"""<style>
html,body{{height:100%;margin:0;background:#fff;color:#1c1e21;font:14px/1.5 {FONT};color-scheme:light}}
body{{display:flex;flex-direction:column}}
.legend{{display:flex;flex-wrap:wrap;gap:4px 18px;padding:12px 16px;margin:0;list-style:none}}
.legend i{{display:inline-block;width:11px;height:11px;border-radius:50%;margin-right:6px;
border:1px solid {BORDER}}}
.caption{{padding:0 16px 12px;margin:0;color:#5f6670}}
.card{{flex:1;min-height:0}}
#mynetwork{{border:0!important;height:100%!important;float:none!important}}
div.vis-tooltip{{font:13px/1.45 {FONT};white-space:pre;background:#fff;color:#1c1e21;border:1px solid #d5d9de;
border-radius:6px;padding:8px 10px;box-shadow:0 2px 10px rgba(0,0,0,.12)}}
</style>"""
# a frame that is drawn before it is seen has no size yet: the whole graph is fitted when it has one
PAGE_SCRIPT = """<script>
const card = document.getElementById("mynetwork"), fit = () => {network.redraw(); network.fit()};
new ResizeObserver(fit).observe(card);
new IntersectionObserver((seen, watch) => {
  if (seen[0].isIntersecting) {watch.disconnect(); requestAnimationFrame(fit)}
}).observe(card);
</script>"""


@dataclass(frozen=True, slots=True)
class GraphView:
    """A graph page to show in a notebook: a sandboxed frame, and one line of text where frames are not shown."""

    page_html: str
    caption: str
    height_px: int = 600

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What JupyterLab asks for. No same-origin right: text from documents can never reach the notebook."""
        frame = (
            f'<iframe sandbox="allow-scripts" style="width:100%;height:{int(self.height_px)}px;border:0" '
            f'srcdoc="{html.escape(self.page_html, quote=True)}"></iframe><p>{html.escape(self.caption)}</p>'
        )
        return {"text/html": frame, "text/plain": self.caption}


def still_view(drawing: Drawing, height_px: int = 600) -> GraphView:
    """A drawing as the last value of a notebook cell."""
    return GraphView(drawing_page(drawing), drawing.caption, height_px)


def graph_drawing(
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    communities: Sequence[Community],
    max_nodes: int = 300,
    seed: int = 17,
    colouring: Colouring | None = None,
) -> Drawing:
    """Draw the best connected part of the graph.

    Colour is the community at level 0, the twelve largest have one of their own; size is the degree; hovering shows
    the dated evidence, and what a model wrote: the type of an entity, and the description. Positions are computed
    here, so the same graph gives the same drawing.

    Args:
        entities: nodes; each with its evidence.
        relationships: links between them.
        communities: of all levels; described ones give the legend its titles.
        max_nodes: nodes drawn at most, those of highest degree. Default 300: beyond, a browser without a graphics
            card gets slow and the picture is a tangle. At least 1.
        seed: of the layout.
        colouring: other colours than those of the communities; see `explore.colours`.

    Raises:
        ValueError: if `max_nodes` is below 1.
    """
    if max_nodes < 1:
        raise ValueError(f"max_nodes={max_nodes}: at least 1 node must be drawn")
    degree = Counter(end for link in relationships for end in {link.source, link.target})
    drawn = sorted(entities, key=lambda entity: (-degree[entity.id], entity.id))[:max_nodes]
    if colouring is None:
        coarse = [community for community in communities if community.level == 0]
        colouring = by_group(by_community(coarse), [entity.id for entity in drawn], "community")
    caption = _caption(entities, relationships, communities, max_nodes)
    return draw(drawn, relationships, degree, colouring, caption, seed)


def drawing_page(drawing: Drawing) -> str:
    """A drawing as one HTML page with pyvis, to zoom, drag and hover; it loads nothing from elsewhere."""
    from pyvis.network import Network

    # directed: pyvis compares each undirected edge with all others; each edge is told to have no arrow
    network = Network(height="100%", width="100%", directed=True, cdn_resources="in_line")
    for node in drawing.nodes:
        network.add_node(
            node.id,
            label=_inert(node.label),
            title=_inert(node.title),
            color={"background": node.colour, "border": BORDER},
            size=node.size,
            shape="dot",
            x=node.x,
            y=node.y,
        )
    for edge in drawing.edges:
        title = _inert(edge.title)
        more = {"label": _inert(edge.label)} if edge.label else {}
        network.add_edge(edge.source, edge.target, title=title, width=edge.width, color=LINE, arrows="", **more)
    network.set_options(json.dumps(OPTIONS))
    return _whole_page(network.generate_html(notebook=False), drawing.colouring, drawing.caption)


def _inert(text: str) -> str:
    """Break the one word that makes pyvis show a title as HTML; everything else it passes on as JSON text."""
    return text.replace("href", "hr\u200bef")


def _caption(
    entities: Sequence[Entity], relationships: Sequence[Relationship], communities: Sequence[Community], max_nodes: int
) -> str:
    coarse = sum(community.level == 0 for community in communities)
    text = f"{len(entities)} entities, {len(relationships)} relationships, {coarse} communities at level 0"
    hidden = len(entities) - max_nodes
    return f"{text}; the {max_nodes} best connected are drawn" if hidden > 0 else text


def _whole_page(page: str, colouring: Colouring, caption: str) -> str:
    page = re.sub(r'<link\s[^>]*href="https?://[^>]*>', "", page, flags=re.DOTALL)
    page = re.sub(r'<script\s[^>]*src="https?://[^>]*>\s*</script>', "", page, flags=re.DOTALL)
    page = re.sub(r"<center>\s*<h1>.*?</h1>\s*</center>", "", page, flags=re.DOTALL)
    top = f'{legend_list(colouring)}<p class="caption">{html.escape(caption)}</p>'
    head, body = page.rsplit("</head>", 1)
    body = body.replace("<body>", f"<body>{top}", 1)
    body = body.replace("</body>", f"{PAGE_SCRIPT}</body>", 1)
    return f"<!doctype html>\n{head}<title>Entity graph</title>{PAGE_STYLE}</head>{body}"
