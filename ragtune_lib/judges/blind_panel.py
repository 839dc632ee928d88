"""The buttons around `agreement.BlindJudging`: a question, two answers, no names, one click each.

Importing this module loads ipywidgets, since the panel is one.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping

from ragtune_lib.click_panel import ClickPanel
from ragtune_lib.judges.agreement import BlindJudging

BUTTONS = {
    "first": ("First is better", "success", "the first answer serves the reader better"),
    "tie": ("Tie", "info", "you would not care which of the two you got"),
    "second": ("Second is better", "success", "the second answer serves the reader better"),
    "undo": ("Undo", "warning", "take back the last verdict"),
    "previous": ("Previous", "", "the pair before this one"),
    "next": ("Next", "", "the pair after this one"),
}
_CELL = "flex:1 1 280px;border-left:4px solid {colour};padding:2px 10px;white-space:pre-wrap;overflow-wrap:anywhere"


class JudgePanel(ClickPanel):
    """Blind judging in a notebook cell; all it knows is in `judging`.

    Which system wrote what is nowhere in it.

    Args:
        judging: the pairs and the verdicts so far.
        reference: whether the reference answer is shown, as it is to a judge model.
    """

    def __init__(self, judging: BlindJudging, reference: bool = True):
        super().__init__(BUTTONS)
        self.judging, self.reference = judging, reference
        self.ids = list(judging.pairs)
        self.pair_id: str | None = None
        self.run(self._go_on)

    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What each button does."""
        return {
            **{choice: lambda choice=choice: self._decide(choice) for choice in ("first", "tie", "second")},
            "undo": self._undo,
            "previous": lambda: self._move(-1),
            "next": lambda: self._move(1),
        }

    def _decide(self, choice: str) -> None:
        if self.pair_id is None:
            raise ValueError("no pair is shown; press Previous to change a verdict")
        self.judging.decide(self.pair_id, choice)
        self._go_on()

    def _go_on(self) -> None:
        """Show the next open pair after this one, else the first open one, else none."""
        still = self.judging.open()
        here = self.ids.index(self.pair_id) if self.pair_id in self.ids else -1
        after = [pair_id for pair_id in still if self.ids.index(pair_id) > here]
        self.pair_id = next(iter(after or still), None)

    def _undo(self) -> None:
        undone = self.judging.undo()
        if undone is None:
            raise ValueError("nothing to undo")
        self.pair_id = undone.pair_id

    def _move(self, step: int) -> None:
        if self.ids:
            here = self.ids.index(self.pair_id) if self.pair_id in self.ids else len(self.ids)
            self.pair_id = self.ids[min(max(here + step, 0), len(self.ids) - 1)]

    def draw(self) -> None:
        """Show the pair and how far the judging is."""
        place = f" This is pair {self.ids.index(self.pair_id) + 1}." if self.pair_id else ""
        chosen = self.judging.choices().get(self.pair_id or "", "")
        self.status.value = html.escape(f"{self.summary()}.{place}" + (f" You said: {chosen}." if chosen else ""))
        self.card.value = self.shown() if self.pair_id else "<i>Every pair is judged. Thank you.</i>"

    def shown(self) -> str:
        """Escaped HTML of the pair that is shown, "" when there is none."""
        if self.pair_id is None:
            return ""
        pair = self.judging.pairs[self.pair_id]
        chosen = self.judging.choices().get(pair.id)
        reference = f"<div style='opacity:.8'>Reference: {html.escape(pair.question.answer)}</div>"
        cells = "".join(
            f'<div style="{_CELL.format(colour="#009E73" if chosen == name else "#d9d9d9")}">'
            f"<b>{name.title()} answer</b>\n{html.escape(text)}</div>"
            for name, text in (("first", pair.first), ("second", pair.second))
        )
        return (
            f'<div style="font-size:1.1em;margin:6px 0">{html.escape(pair.question.question)}</div>'
            f"{reference if self.reference else ''}"
            f'<div style="display:flex;flex-wrap:wrap;gap:12px;margin:8px 0">{cells}</div>'
        )

    def summary(self) -> str:
        """One line of plain text: how far the judging is."""
        line = self.judging.told()
        unread = len(self.judging.problems)
        return f"{line}; {unread} lines of {self.judging.path.name} not used" if unread else line
