"""The buttons around `alias_merge.AliasReview`: two entities that may be one, one click each.

Importing this module loads ipywidgets, since the panel is one.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from ragtune_lib.click_panel import ClickPanel
from ragtune_lib.graph.alias_merge import AliasReview
from ragtune_lib.records import AliasPair, Entity

BUTTONS = {
    "accept": ("The same", "success", "both names mean one person, place or thing: make them one entity"),
    "reject": ("Different", "danger", "they are two; do not ask again"),
    "later": ("Later", "", "the next pair; this one comes back after all others"),
    "undo": ("Undo", "warning", "take back the last decision"),
}
DESCRIPTION = 600  # characters shown of each
WAITING = "You said of each that it is the same as a third. Only if these two are the same as well are all merged."
_CELL = "flex:1 1 280px;border-left:4px solid #d9d9d9;padding:2px 10px;white-space:pre-wrap;overflow-wrap:anywhere"
Pair = tuple[str, str]


class AliasPanel(ClickPanel):
    """Deciding about aliases in a notebook cell; all it knows is in `review`.

    Args:
        review: the decisions so far.
        suggestions: what to ask about, best first.
        entities: of the graph before merging.
    """

    def __init__(self, review: AliasReview, suggestions: Sequence[AliasPair], entities: Sequence[Entity]):
        super().__init__(BUTTONS)
        self.review, self.suggestions = review, suggestions
        self.entities = {entity.id: entity for entity in entities}
        self.reasons = {pair.entity_ids: pair.reasons for pair in suggestions}
        self.pair: Pair | None = None
        self.put_off: dict[Pair, int] = {}  # pairs to ask later, by when that was said
        self.run(self._go_on)

    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What each button does."""
        return {
            "accept": lambda: self._decide(self.review.accept),
            "reject": lambda: self._decide(self.review.reject),
            "later": self._later,
            "undo": self._undo,
        }

    def _current(self) -> Pair:
        if self.pair is None:
            raise ValueError("no pair is shown")
        return self.pair

    def _decide(self, decide: Callable[..., object]) -> None:
        decide(*self._current())
        self._go_on()

    def _go_on(self) -> None:
        """Show the first pair of the queue, those that were put off last."""
        queue = self.review.queue(self.suggestions)
        self.pair = min(queue, key=lambda pair: self.put_off.get(pair, 0), default=None)

    def _later(self) -> None:
        self.put_off[self._current()] = max(self.put_off.values(), default=0) + 1
        self._go_on()

    def _undo(self) -> None:
        undone = self.review.undo()
        if undone is None:
            raise ValueError("nothing to undo")
        self._go_on()
        if len(undone.entity_ids) == 2 and set(undone.entity_ids) <= set(self.entities):
            self.pair = (undone.entity_ids[0], undone.entity_ids[1])

    def draw(self) -> None:
        """Show the pair and how far the review is."""
        self.status.value = html.escape(f"{self.summary()}.")
        self.card.value = self.shown() or "<i>No pair is left to decide.</i>"

    def shown(self) -> str:
        """Escaped HTML of the pair that is shown, "" when there is none."""
        if self.pair is None:
            return ""
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in self.reasons.get(self.pair, (WAITING,)))
        cells = "".join(_cell(self.entities[entity_id]) for entity_id in self.pair)
        return (
            f'<div style="display:flex;flex-wrap:wrap;gap:12px;margin:8px 0">{cells}</div>'
            f'<ul style="margin:4px 0">{reasons}</ul>'
        )

    def decided(self) -> dict[Pair, str]:
        """The last standing decision about each two entities: "accept" or "reject"."""
        events = self.review.standing()
        return {pair: event.action for event in events for pair in combinations(sorted(event.entity_ids), 2)}

    def summary(self) -> str:
        """One line of plain text: what was decided, what that merges, and what is left."""
        counts, found = Counter(self.decided().values()), self.review.grouped()
        line = f"{counts['accept']} pairs accepted, {counts['reject']} rejected"
        line += f", {len(self.review.queue(self.suggestions))} to decide"
        line += f"; {sum(map(len, found.groups))} entities become {len(found.groups)}"
        if found.contradicted:
            line += f"; {len(found.contradicted)} accepted pairs are not merged, since a rejected pair would be"
        unread = len(self.review.problems)
        return f"{line}; {unread} lines of {self.review.path.name} not used" if unread else line

    def table(self, rows: int = 20) -> str:
        """The state as escaped HTML that needs no widget: the line above and the first suggestions in order."""
        decided = self.decided()
        cells = [
            (decided.get(pair.entity_ids, "undecided"), f"{pair.score:.2f}", *pair.names, "; ".join(pair.reasons))
            for pair in self.suggestions[:rows]
        ]
        head = "".join(f"<th>{name}</th>" for name in ("decision", "score", "one", "other", "reasons"))
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in line)}</tr>" for line in cells)
        more = len(self.suggestions) - len(cells)
        rest = f"<p>and {more} more</p>" if more else ""
        return f"<p>{html.escape(self.summary())}</p><table><tr>{head}</tr>{body}</table>{rest}"


def _cell(entity: Entity) -> str:
    told = entity.description
    told = told if len(told) <= DESCRIPTION else f"{told[:DESCRIPTION].rsplit(' ', 1)[0]} …"
    kind = f" ({html.escape(entity.kind)})" if entity.kind else ""
    count = f"{len(entity.evidence)} sentences, {len(entity.chunk_ids)} chunks"
    return f'<div style="{_CELL}"><b>{html.escape(entity.name)}</b>{kind}, {count}\n{html.escape(told)}</div>'
