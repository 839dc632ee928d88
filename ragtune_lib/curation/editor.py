"""Changing the wording of a pair in place, with the difference to the original beside it.

Importing this module loads ipywidgets, since the editor is made of widgets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ipywidgets as widgets

from ragtune_lib.curation.card import FIELDS, STYLE, difference
from ragtune_lib.keys import FIELD
from ragtune_lib.records import QAPair

COLUMNS = 50  # characters in a line of a text area, about
LINES = {"question": (2, 4), "reasoning": (3, 10), "answer": (3, 10)}  # height of each text area, least and most


class Editor(widgets.VBox):
    """Text areas for question, reasoning and answer; nothing of it is there while nobody edits.

    The areas are made anew for each pair: what the browser still had to send of an older one cannot end up in the next.

    Args:
        buttons: shown below the areas while somebody edits.
        run: how to do a thing whose error the panel shall show.
    """

    def __init__(self, buttons: widgets.Widget, run: Callable[[Callable[[], None]], None]):
        super().__init__()
        self.buttons, self.run = buttons, run
        self.areas: dict[str, widgets.Textarea] = {}
        self.original: dict[str, str] = {}
        self.changes = widgets.HTML()

    def begin(self, shown: Mapping[str, str], original: Mapping[str, str]) -> None:
        """Show the text areas.

        Args:
            shown: the wording to start from, by field.
            original: the wording that the difference is taken to, and that `revert` restores.
        """
        self.end()
        self.original = dict(original)
        for name in FIELDS:
            least, most = LINES[name]
            lines = sum(1 + len(line) // COLUMNS for line in shown[name].split("\n"))
            area = widgets.Textarea(
                value=shown[name],
                description=name.title(),
                rows=min(most, max(least, lines)),
                layout=widgets.Layout(width="calc(100% - 8px)"),
                style={"description_width": "76px"},
            )
            area.add_class(FIELD + name)
            area.observe(lambda _: self.run(self._show_changes), names="value")
            self.areas[name] = area
        self.children = [*self.areas.values(), self.buttons, self.changes]
        self._show_changes()

    def end(self) -> None:
        """Take the text areas away."""
        self.children = []
        for area in self.areas.values():
            area.unobserve_all()
            area.close()
        self.areas = {}

    @property
    def is_open(self) -> bool:
        """Whether somebody is editing."""
        return bool(self.areas)

    def wording(self) -> dict[str, str]:
        """What the text areas say, by field."""
        return {name: area.value for name, area in self.areas.items()}

    def take(self, fields: Mapping[str, str]) -> None:
        """Put in what the browser says that the areas hold."""
        for name, area in self.areas.items():
            if name in fields and _lines(area.value) != _lines(fields[name]):
                area.value = fields[name]

    def revert(self) -> None:
        """Put the original wording back into the text areas."""
        self.take(self.original)

    def _show_changes(self) -> None:
        changed = [name for name, text in self.wording().items() if text != self.original[name]]
        rows = "".join(
            f"<h4>{name.title()}</h4><p>{difference(self.original[name], self.areas[name].value)}</p>"
            for name in changed
        )
        told = rows or "<p>Nothing is changed yet.</p>"
        self.changes.value = f'{STYLE}<div class="rt-card"><b>What you change</b>{told}</div>'


def _lines(text: str) -> list[str]:
    """A browser's text areas know one kind of line end only; that alone is no change."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def wording_of(pair: QAPair) -> dict[str, str]:
    """The three texts of a pair by field."""
    return {name: getattr(pair, name) for name in FIELDS}
