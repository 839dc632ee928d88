"""Exploring and correcting the graph in a notebook cell: a canvas on the left, what is chosen on the right.

It starts with the communities. A click on one shows its entities, a click on an entity or a line fills the side panel,
a double click goes to the neighbourhood; search, lists and buttons do the same without the canvas. Every correction is
in graph_edits.jsonl before it shows. Importing this module loads ipywidgets and anywidget.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from ragtune_lib.click_panel import ClickPanel
from ragtune_lib.explore import side_panel
from ragtune_lib.explore.canvas import GraphCanvas
from ragtune_lib.explore.colours import legend_list
from ragtune_lib.explore.coverage import read_coverage, read_facts_recalled
from ragtune_lib.explore.drawing import Drawing, shown
from ragtune_lib.explore.overview import LOOSE, Filter, GraphIndex
from ragtune_lib.explore.views import View, picture
from ragtune_lib.graph.alias_merge import AliasReview
from ragtune_lib.graph.edits import GraphEdits, corrections
from ragtune_lib.records import AliasPair, Chunk, Community, Document, Entity, Relationship

if TYPE_CHECKING:
    from ragtune_lib.graph_view import GraphView

BUTTONS = {
    "overview": ("Overview", "info", "all communities"),
    "back": ("Back", "", "the place before this one"),
    "best": ("Best connected", "", "the entities with most relationships"),
    "search": ("Search", "", "entities whose name holds the text"),
    **side_panel.BUTTONS,
}
COLOURS = ("community", "type", "document")
PAIR_COLOURS = ("pairs made", "pairs kept")
RECALLED = "facts recalled"
HEIGHT = 600  # pixels of the canvas
OVERVIEW = View("overview")
NO_HITS = ("nothing searched or found", "")
SMALL, WIDE = widgets.Layout(width="auto", min_width="90px"), widgets.Layout(width="230px")
NARROW = widgets.Layout(width="160px")


class GraphExplorer(ClickPanel):
    """The graph of one run, to look at and to correct.

    Args:
        folder: the run folder; pairs and decisions are read from it where an earlier visit left some.
        entities: after merging and before corrections, so that these can be undone.
        relationships: likewise.
        communities: of all levels.
        chunks: the source.
        documents: for their names.
        edits: the corrections so far.
        still: the picture to show where no widget can live.
        review: decisions about aliases; without it none are shown.
        suggestions: of aliases.
        seed: of the layouts.
    """

    def __init__(
        self,
        folder: Path,
        entities: Sequence[Entity],
        relationships: Sequence[Relationship],
        communities: Sequence[Community],
        chunks: Sequence[Chunk],
        documents: Sequence[Document],
        edits: GraphEdits,
        still: GraphView,
        review: AliasReview | None = None,
        suggestions: Sequence[AliasPair] = (),
        seed: int = 17,
    ):
        super().__init__(BUTTONS)
        self.folder, self.documents, self.edits, self.still, self.seed = folder, documents, edits, still, seed
        self.chunks = {chunk.id: chunk for chunk in chunks}
        self.before = GraphIndex(entities, relationships, communities, chunks)
        self.index = self.before.corrected(corrections(edits.events))
        self.view, self.trail = OVERVIEW, []
        self.drawing: Drawing | None = None
        self._painted: object = None
        self._counts: dict[str, Mapping[str, int]] = {}
        self._setting = False  # True while a widget is set by us and not by a person
        self.legend, self.caption = widgets.HTML(), widgets.HTML()
        self.canvas = GraphCanvas(lambda kind, one: self.run(lambda: self._clicked(kind, one)), HEIGHT)
        self.side = side_panel.SidePanel(self, review, suggestions)
        self._make_bar()
        self.children = self._laid_out()
        self.run(lambda: None)

    def _make_bar(self) -> None:
        kinds = [("any type", ""), *((shown(kind, 40), kind) for kind in self.index.kinds())]
        named = [(shown(document.name, 60), document.id) for document in self.documents]
        self.query = widgets.Text(placeholder="search a name", layout=WIDE, continuous_update=False)
        self.hits = widgets.Dropdown(options=[NO_HITS], layout=WIDE)
        levels = [(f"level {level}", level) for level in range(self.index.levels)]
        self.level = widgets.Dropdown(options=levels, value=0, layout=NARROW)
        self.colour = widgets.Dropdown(options=[(f"colour: {one}", one) for one in self._colours()], layout=NARROW)
        self.kind = widgets.Dropdown(options=kinds, value="", layout=NARROW)
        self.document = widgets.Dropdown(options=[("any document", ""), *named], value="", layout=NARROW)
        self.since = widgets.Text(placeholder="from 2025-01-31", layout=NARROW, continuous_update=False)
        self.until = widgets.Text(placeholder="until 2025-12-31", layout=NARROW, continuous_update=False)
        self.weight = widgets.BoundedFloatText(value=0, min=0, max=1e9, layout=NARROW, description="weight from")
        self.on(self.query, self._search)
        self.on(self.hits, lambda: self.choose_entity(self.hits.value) if self.hits.value else None)
        for widget in (self.level, self.colour, self.kind, self.document, self.since, self.until, self.weight):
            self.on(widget, self._filtered)

    def _laid_out(self) -> list[widgets.Widget]:
        for button in self.buttons.values():
            button.layout = SMALL
        row = widgets.Layout(flex_flow="row wrap", align_items="center", width="100%")
        go = [self.buttons[name] for name in ("overview", "back", "best")]
        bar = widgets.HBox([*go, self.query, self.buttons["search"], self.hits, self.colour], layout=row)
        narrowed = [self.level, self.kind, self.document, self.since, self.until, self.weight]
        left = widgets.VBox([self.canvas, self.legend, self.caption], layout=widgets.Layout(flex="3 1 480px"))
        right = widgets.VBox([self.side.tabs], layout=widgets.Layout(flex="2 1 360px", min_width="0"))
        body = widgets.HBox([left, right], layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        return [self.status, bar, widgets.HBox(narrowed, layout=row), self.message, body]

    def on(self, widget: widgets.Widget, action: Callable[[], object]) -> None:
        """Do something when a person changes a widget."""
        widget.observe(lambda _: None if self._setting else self.run(action), names="value")

    def _colours(self) -> list[str]:
        have = {name: (self.folder / f"{name}.jsonl").is_file() for name in ("pairs", "questions", "answers")}
        found = [*COLOURS, *(PAIR_COLOURS if have["pairs"] else ())]
        return [*found, RECALLED] if have["questions"] and have["answers"] else found

    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What each button does."""
        return {
            "overview": lambda: self.go(replace(OVERVIEW, level=self.level.value)),
            "back": self._back,
            "best": lambda: self.go(View("best")),
            "search": self._search,
            **self.side.actions(),
        }

    def set(self, widget: widgets.Widget, **values: Any) -> None:
        """Change a widget without its change counting as a person's."""
        self._setting = True
        try:
            for name, value in values.items():
                setattr(widget, name, value)
        finally:
            self._setting = False

    def go(self, view: View) -> None:
        """Go to a place, with the filter and level as they are set."""
        view = replace(view, wanted=self._wanted(), level=self.level.value)
        if view != self.view:
            self.trail.append(self.view)
        self.view = view

    def _back(self) -> None:
        if not self.trail:
            raise ValueError("there is no place before this one")
        self.view = self.trail.pop()
        wanted = self.view.wanted
        self.set(self.level, value=self.view.level)
        for name in ("kind", "document", "since", "until"):
            self.set(getattr(self, name), value=getattr(wanted, name))
        self.set(self.weight, value=wanted.min_weight)

    def _wanted(self) -> Filter:
        dates = [self.since.value.strip(), self.until.value.strip()]
        for date in filter(None, dates):
            if len(date) > 10 or not date.replace("-", "").isdigit():
                raise ValueError(f"{date!r:.40} is no date: write it as 2025-01-31")
        return Filter(self.kind.value, self.document.value, *dates, self.weight.value)

    def _filtered(self) -> None:
        self.view = replace(self.view, wanted=self._wanted(), level=self.level.value)

    def _search(self) -> None:
        found = self.index.search(self.query.value)
        if not found:
            self.set(self.hits, options=[NO_HITS], value="")
            raise ValueError(f"no name holds {self.query.value.strip()!r:.80}")
        options = [(shown(entity.name, 60), entity.id) for entity in found]
        self.set(self.hits, options=options, value=found[0].id)
        self.choose_entity(found[0].id)
        if not self.is_drawn(found[0].id):
            self.go(View("near", found[0].id))

    def is_drawn(self, one: str) -> bool:
        """Whether the picture has a node of this id."""
        return self.drawing is not None and any(node.id == one for node in self.drawing.nodes)

    def _clicked(self, kind: str, one: str) -> None:
        if kind == "edge":
            edge = next((edge for edge in self.drawing.edges if edge.id == one), None)
            if edge and self.view.kind != "overview":
                self.side.choose_relations(edge.source, edge.target)
        elif not self.is_drawn(one):
            return  # the second half of a double click, on a picture that is gone
        elif self.view.kind == "overview":
            self.open_community(one)
        else:
            self.choose_entity(one)
            if kind == "open":
                self.go(View("near", one))

    def open_community(self, community_id: str) -> None:
        """Show the entities of a community, and its report."""
        self.go(View("community", community_id))
        if community_id != LOOSE:
            self.side.choose_community(community_id)

    def choose_entity(self, entity_id: str) -> None:
        """Fill the side panel with an entity."""
        self.side.choose_entity(entity_id)

    def changed(self) -> None:
        """A correction was written or taken back: look at the graph as it is now."""
        self.index = self.before.corrected(corrections(self.edits.events))
        deleted = corrections(self.edits.events).deleted
        self.trail = [view for view in self.trail if view.kind != "near" or view.id not in deleted]
        if self.view.kind == "near" and self.view.id in deleted:
            self.view = self.trail.pop() if self.trail else OVERVIEW

    def _count_of(self, colour: str) -> Mapping[str, int] | None:
        """Counts behind a colour, read once."""
        if colour in COLOURS:
            return None
        if colour not in self._counts:
            if colour == RECALLED:
                self._counts[colour] = read_facts_recalled(self.folder, self.before.entities) or {}
            else:
                coverage = self.coverage()
                self._counts |= coverage.counts(self.before.entities) if coverage else {one: {} for one in PAIR_COLOURS}
        return self._counts[colour]

    def coverage(self) -> Any:
        """The pairs of the run, read once; None as long as there are none."""
        if not hasattr(self, "_coverage"):
            self._coverage = read_coverage(self.folder)
        return self._coverage

    def draw(self) -> None:
        """Paint the place if it is another one, and fill the side panel."""
        key = (self.view, self.colour.value, len(self.edits.events))
        if key != self._painted:
            colour = self.colour.value
            self.drawing = picture(self.index, self.view, colour, self._count_of(colour), self.documents, self.seed)
            self.canvas.show(self.drawing)
            self.legend.value = f"{LEGEND}{legend_list(self.drawing.colouring)}"
            self.caption.value = f'<span style="color:#5f6670">{html.escape(self.drawing.caption)}</span>'
            self._painted = key
        self.buttons["back"].disabled = not self.trail
        self.side.draw()
        self.status.value = html.escape(f"{self.summary()}.")

    def summary(self) -> str:
        """One line of plain text: what there is, and how much was corrected."""
        text = f"{len(self.before.entities):,} entities, {len(self.before.links):,} relationships"
        text += f", {len(self.before.communities):,} communities; {len(self.edits.standing()):,} corrections"
        unread = len(self.edits.problems)
        return f"{text}; {unread} lines of {self.edits.path.name} not used" if unread else text

    def table(self) -> str:
        """The still picture in its sandboxed frame, where no widget lives."""
        return self.still._repr_mimebundle_()["text/html"] + f"<p>{html.escape(self.summary())}</p>"


LEGEND = """<style>
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;padding:4px 2px;margin:0;list-style:none;line-height:1.5}
.legend i{display:inline-block;width:11px;height:11px;border-radius:50%;margin-right:6px;border:1px solid #5f6670}
</style>"""
