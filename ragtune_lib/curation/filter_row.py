"""The row of lists that says which pairs to look at, and in which order.

Importing this module loads ipywidgets, since the row is made of widgets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from ragtune_lib.curate import Curation
from ragtune_lib.curation.queues import ORDERS, Filter, choices

SEARCH = "ragtune-search"  # DOM class of the search field
LISTS = ("status", "scope", "kind", "check", "document", "community", "reviewer")
LONG = 40  # entries; a longer list is typed into, not scrolled
SUGGESTED = 2000  # of such a list, what the browser holds to complete it
LABEL = 40  # characters shown of an entry


class FilterRow(widgets.HBox):
    """Lists to choose from and a search field; the lists are made once, so that a click never waits for them.

    Args:
        curation: the review; what there is to choose is in `queues.choices`.
        changed: called when something else was chosen.
        order: what to start with, one of `queues.ORDERS`.
    """

    def __init__(self, curation: Curation, changed: Callable[[], None], order: str):
        super().__init__(layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
        self.changed, self.quiet = changed, False
        self.typed: dict[str, dict[str, str]] = {}  # value by label of the lists that are typed into
        found = choices(curation)
        self.lists = {name: self._list(name, found[name]) for name in LISTS}
        self.order = widgets.Dropdown(
            description="Order", options=ORDERS, value=order, style=_WIDE, layout=widgets.Layout(width="auto")
        )
        self.search = widgets.Text(
            placeholder="words of the pair",
            description="Search",
            continuous_update=False,
            layout=widgets.Layout(width="220px"),
            style=_WIDE,
        )
        self.search.add_class(SEARCH)
        self.reset = widgets.Button(
            description="Clear", tooltip="list all pairs again", layout=widgets.Layout(width="auto")
        )
        self.reset.on_click(lambda _: self.clear())
        # a list with one entry would not choose anything
        self.children = [
            self.search,
            self.order,
            *(self.lists[name] for name in LISTS if len(found[name]) > 1),
            self.reset,
        ]
        for box in (*self.lists.values(), self.search, self.order):
            box.observe(self._observed, names="value")

    def _list(self, name: str, values: Sequence[tuple[str, str]]) -> widgets.Widget:
        """A list, or a field to type into where the list would be too long."""
        if len(values) <= LONG:
            options = [("any", ""), *((_short(label), value) for label, value in values)]
            layout = widgets.Layout(width="auto", max_width="260px")
            return widgets.Dropdown(description=name.title(), options=options, style=_WIDE, layout=layout)
        labels: dict[str, str] = {}
        for label, value in values:
            labels[f"{_short(label)} [{value[:8]}]" if _short(label) in labels else _short(label)] = value
        self.typed[name] = labels
        return widgets.Combobox(
            description=name.title(),
            options=tuple(labels)[:SUGGESTED],
            placeholder=f"any of {len(labels)}",
            continuous_update=False,
            style=_WIDE,
            layout=widgets.Layout(width="230px"),
        )

    def _chosen(self, name: str) -> str:
        value = self.lists[name].value or ""
        if name not in self.typed or not value:
            return value
        if value not in self.typed[name]:
            raise ValueError(f"no {name} {value!r:.60}; choose one of the list")
        return self.typed[name][value]

    def _observed(self, _: object) -> None:
        if not self.quiet:
            self.changed()

    def value(self) -> Filter:
        """What is chosen.

        Raises:
            ValueError: if a document or a community was typed that is not there.
        """
        return Filter(**{name: self._chosen(name) for name in LISTS}, text=self.search.value.strip())

    def clear(self) -> None:
        """Choose everything again, as one change."""
        self.quiet = True
        try:
            for box in (*self.lists.values(), self.search):
                box.value = ""
        finally:
            self.quiet = False
        self.changed()


_WIDE = {"description_width": "initial"}


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}\u2026"
