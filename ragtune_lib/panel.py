"""The buttons around `curate.Curation`: one pair beside its source, decided with a click.

Importing this module loads ipywidgets, since the panel is one.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets

from ragtune_lib.click_panel import WRAP, ClickPanel
from ragtune_lib.curate import Curation
from ragtune_lib.curation.queues import Filter, matching, ordered
from ragtune_lib.graph_view import pair_card
from ragtune_lib.records import Chunk

FIELDS = {"question": "60px", "reasoning": "160px", "answer": "90px", "note": "40px"}  # height of each text area
BUTTONS = {
    "keep": ("Keep", "success", "use the pair in the wording shown"),
    "edit": ("Save edit", "info", "use the pair in the wording shown, as the person's own"),
    "drop": ("Drop", "danger", "do not use the pair"),
    "note": ("Note", "", "write the note down; it decides nothing"),
    "undo": ("Undo", "warning", "take back the last keep, edit or drop"),
    "previous": ("Previous", "", "the pair before this one in the list"),
    "next": ("Next", "", "the pair after this one in the list"),
}
VIEWS = ("undecided", "flagged", "all", "local", "global")
LATEST = 5  # decisions shown below the buttons


class CurationPanel(ClickPanel):
    """Review of pairs in a notebook cell; all it knows is in `curation`.

    Args:
        curation: the state of the review.
        chunks: the source; the evidence of each pair is shown beside it.
        view: what to list first, one of `VIEWS`.
    """

    def __init__(self, curation: Curation, chunks: Sequence[Chunk], view: str = "undecided"):
        super().__init__(BUTTONS)
        self.curation = curation
        self.chunks = {chunk.id: chunk for chunk in chunks}
        self.drafts: dict[str, tuple[str, ...]] = {}  # wordings that were left unsaved, by pair
        self.pair_id: str | None = None
        self.latest = widgets.HTML()
        self.filter = widgets.Dropdown(options=VIEWS, value=view, description="Show")
        self.areas = {
            name: widgets.Textarea(description=name.title(), layout=widgets.Layout(width="100%", height=height))
            for name, height in FIELDS.items()
        }
        self.filter.observe(lambda _: self.run(self._first), names="value")
        half = widgets.Layout(width="50%", min_width="300px")
        form = widgets.VBox([*self.areas.values(), self.row, self.message, self.latest], layout=half)
        sides = widgets.HBox([form, widgets.VBox([self.card], layout=half)], layout=widgets.Layout(flex_flow=WRAP))
        self.children = [widgets.HBox([self.filter, self.status]), sides]
        self.run(self._first)

    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What each button does."""
        return {
            "keep": self._keep,
            "edit": lambda: self._decide("edit"),
            "drop": lambda: self._decide("drop"),
            "note": self._note,
            "undo": self._undo,
            "previous": lambda: self._move(-1),
            "next": lambda: self._move(1),
        }

    def _wording(self) -> dict[str, str]:
        return {name: self.areas[name].value for name in ("question", "reasoning", "answer")}

    def _stored(self) -> dict[str, str]:
        pair = self.curation.pair(self._current())
        return {"question": pair.question, "reasoning": pair.reasoning, "answer": pair.answer}

    def _current(self) -> str:
        if self.pair_id is None:
            raise ValueError("no pair is shown; choose another list")
        return self.pair_id

    def _keep(self) -> None:
        """Keep what is shown: typing a correction and pressing Keep must not lose the correction."""
        original = self.curation.pairs[self._current()]
        shown = (original.question, original.reasoning, original.answer)
        self._decide("keep" if tuple(self._wording().values()) == shown else "edit")

    def _decide(self, action: str) -> None:
        pair_id = self._current()
        before = self._queue()
        self.curation.decide(pair_id, action, **(self._wording() if action == "edit" else {}))
        self.drafts.pop(pair_id, None)
        after = before[before.index(pair_id) + 1 :] if pair_id in before else []
        left = self._queue()
        self._show(next((other for other in after if other in left), next(iter(left), None)))

    def _note(self) -> None:
        self.curation.decide(self._current(), "note", note=self.areas["note"].value)
        self.areas["note"].value = ""

    def _undo(self) -> None:
        undone = self.curation.undo()
        if not undone:
            raise ValueError("nothing to undo")
        self._leave()
        self._show(undone[0].pair_id)
        self.message.value = f"taken back: {undone[0].action}"

    def _queue(self) -> list[str]:
        """Ids of the pairs in the chosen list; in that of the undecided ones those with findings come first."""
        view = self.filter.value
        if view == "undecided":
            return ordered(self.curation, matching(self.curation, Filter(status=view)), "worst")
        ids = matching(self.curation, Filter(scope=view if view in ("local", "global") else ""))
        return [pair_id for pair_id in ids if view != "flagged" or pair_id in self.curation.flags]

    def _move(self, step: int) -> None:
        queue = self._queue()
        self._leave()
        if self.pair_id in queue:
            self._show(queue[min(max(queue.index(self.pair_id) + step, 0), len(queue) - 1)])
        else:
            self._show(next(iter(queue), None))

    def _first(self) -> None:
        self._leave()
        queue = self._queue()
        undecided = (pair_id for pair_id in queue if self.curation.state(pair_id) == "undecided")
        self._show(next(undecided, next(iter(queue), None)))

    def _leave(self) -> None:
        """Remember a wording that was typed and not saved."""
        if self.pair_id is None:
            return
        self.drafts.pop(self.pair_id, None)
        if self._wording() != self._stored():
            self.drafts[self.pair_id] = tuple(self._wording().values())

    def _show(self, pair_id: str | None) -> None:
        self.pair_id = pair_id
        for area in self.areas.values():
            area.value, area.disabled = "", pair_id is None
        if pair_id is None:
            self.card.value = "<i>No pair is left in this list.</i>"
            return
        pair = self.curation.pair(pair_id)
        wording = self.drafts.get(pair_id, (pair.question, pair.reasoning, pair.answer))
        for name, text in zip(("question", "reasoning", "answer"), wording, strict=True):
            self.areas[name].value = text
        self.card.value = pair_card(pair, self.chunks, self.curation.flags.get(pair_id, ()))

    def draw(self) -> None:
        """Show how far the review is and what was decided last."""
        queue = self._queue()
        place = f"{queue.index(self.pair_id) + 1} of {len(queue)}" if self.pair_id in queue else f"{len(queue)} pairs"
        shown = f"; this one: {self.curation.state(self.pair_id)}" if self.pair_id else ""
        self.status.value = f"{html.escape(self.summary())}. List: {place}{shown}"
        events = self.curation.history(LATEST)
        lines = [f"{event.action}: {self.curation.pair(event.pair_id).question} {event.note}" for event in events]
        self.latest.value = "".join(f"<div>{html.escape(line)}</div>" for line in lines)

    def summary(self) -> str:
        """One line of plain text: how far the review is."""
        counts = self.curation.counts()
        decided = ", ".join(f"{counts[name]} {name}" for name in ("keep", "edit", "drop"))
        line = f"{counts['decided']} of {counts['pairs']} decided ({decided}); {counts['blocked']} blocked by checks"
        unread = len(self.curation.problems)
        return f"{line}; {unread} lines of {self.curation.path.name} not used" if unread else line

    def table(self, rows: int = 20) -> str:
        """The state as escaped HTML that needs no widget: the counts and the first pairs in order."""
        cells = []
        for pair_id in list(self.curation.pairs)[:rows]:
            pair = self.curation.pair(pair_id)
            checks = ", ".join(flag.check for flag in self.curation.flags.get(pair_id, ()))
            line = (self.curation.state(pair_id), pair.scope, pair.question, pair.answer, checks)
            cells.append("".join(f"<td>{html.escape(text)}</td>" for text in line))
        head = "".join(f"<th>{name}</th>" for name in ("state", "scope", "question", "answer", "flags"))
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<p>{html.escape(self.summary())}</p><table><tr>{head}</tr>{body}</table>"
