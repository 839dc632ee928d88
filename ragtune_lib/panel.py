"""The panel around `curate.Curation`: one pair beside its source, decided with a key or a click.

Importing this module loads ipywidgets and anywidget, since the panel is made of widgets.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import ipywidgets as widgets

from ragtune_lib.checks import Embed
from ragtune_lib.click_panel import WRAP, ClickPanel
from ragtune_lib.curate import Curation
from ragtune_lib.curation.card import evidence, flag_list, wording
from ragtune_lib.curation.decision_table import decision_table, pace_line, progress, standing_line, summary_line
from ragtune_lib.curation.drawers import Bulk, Guidelines, History, key_list, line
from ragtune_lib.curation.editor import Editor, wording_of
from ragtune_lib.curation.events import DECIDING
from ragtune_lib.curation.filter_row import SEARCH, FilterRow
from ragtune_lib.curation.marks import Sources
from ragtune_lib.curation.neighbourhood import Neighbourhoods
from ragtune_lib.curation.quality import Quality
from ragtune_lib.curation.queues import matching, ordered
from ragtune_lib.curation.walk import Walk
from ragtune_lib.keys import FIELD, PANEL, SCROLLED, KeyCatcher
from ragtune_lib.panel_style import ABOUT_CARD, BUTTONS, EVERYWHERE, KEYS, MEANINGS, REASONS, REPEATS, STYLE
from ragtune_lib.records import Chunk, QAPair

NOTE = "ragtune-note"  # DOM class of the note field
HEIGHT = "max(320px, calc(100vh - 430px))"  # of the card: the same for each pair, so that nothing jumps
MAIN = ("keep", "drop", "edit", "flag", "skip", "undo", "redo", "previous", "next")
DRAWERS = ("history", "bulk", "quality", "guidelines")
Rewrite = Callable[[QAPair, str], QAPair]


class CurationPanel(ClickPanel):
    """Review of pairs in a notebook cell; all that lasts is in `curation`.

    The list is made when the filter or the order changes. A decision moves on in it and asks for nothing anew, so the
    next card does not depend on the number of pairs.

    Args:
        curation: the state of the review.
        chunks: the source; the evidence of each pair is shown beside it.
        around: the graph; where it is given, the neighbourhood of each pair's entity is drawn.
        rewrite: asks the teacher for a new wording of a pair, given what is wrong with it.
        order: of the list at first, one of `curation.queues.ORDERS`.
        seed: of the random order.
        embed: makes vectors of questions, for the order that puts similar ones together.
    """

    def __init__(
        self,
        curation: Curation,
        chunks: Sequence[Chunk],
        around: Neighbourhoods | None = None,
        rewrite: Rewrite | None = None,
        order: str = "undecided",
        seed: int = 17,
        embed: Embed | None = None,
    ):
        super().__init__(BUTTONS)
        self.curation, self.around, self.rewrite = curation, around, rewrite
        self.seed, self.embed = seed, embed
        self.sources = Sources(chunks)
        curation.chunks = curation.chunks or self.sources.by_id  # what filters by document ask
        self.drafts: dict[str, dict[str, str]] = {}  # wordings that were left unsaved, by pair
        self.notes: dict[str, str] = {}  # likewise notes
        self.pair_id: str | None = None
        self.offered: QAPair | None = None  # the teacher's new wording of the pair that is shown
        self.walk = Walk(curation)
        self.settling = False  # decisions settle what people disagree about
        self.clicked: int | None = None  # card that was on the screen when the mouse went down
        self.catcher = KeyCatcher(KEYS, self.heard, REPEATS, EVERYWHERE, "Curation of pairs")
        self.filters = FilterRow(curation, lambda: self.run(self._first), order)
        self._build()
        self.run(self._first)

    def _build(self) -> None:
        """Put the parts in their places; what changes its height stands below what is clicked most."""
        row = widgets.Layout(flex_flow=WRAP, align_items="center")
        for name, made in self.buttons.items():
            made.layout.width = "auto"
            made.add_class("rt-reason" if name.startswith("drop_") else "rt-button")
        self.state, self.source, self.keys_shown = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.note, self.go_to = line("Note or reason (n)", "330px"), line("Go to id", "230px")
        self.note.add_class(NOTE)
        self.keys_shown.add_class("rt-help")
        self.go_to.observe(lambda _: self.run(self._go_to), names="value")
        self.editor = Editor(widgets.HBox(self._some("save", "revert", "close"), layout=row), self.run)
        self.drawers = {
            "history": History(self.curation, self._recall, self.run),
            "bulk": Bulk(self.curation, lambda: self.walk.ids, self._decided_many, self.run),
            "quality": Quality(self.curation, self._go_through, self.run),
            "guidelines": Guidelines(self.curation.folder, self.run),
        }
        self.drawer, self.opened = widgets.VBox(), ""
        reasons = self._some(*(f"drop_{number}" for number in range(1, len(REASONS) + 1)))
        self.offer = widgets.HBox(self._some("accept", "decline"))
        optional = self._some("confirm", *(("rewrite",) if self.rewrite else ()))
        column = widgets.Layout(
            flex="1 1 270px", min_width="250px", height=HEIGHT, overflow="auto", padding="0 10px 0 0"
        )
        left = widgets.VBox([self.state, self.card, self.editor], layout=column)
        right = widgets.VBox([self.offer, self.source], layout=column)
        for side in (left, right):
            side.add_class(SCROLLED)
        self.children = [
            widgets.HTML(STYLE),
            self.status,
            self.filters,
            widgets.HBox(self._some(*MAIN), layout=row),
            widgets.HBox([widgets.HTML("Drop because"), *reasons], layout=row),
            widgets.HBox([self.note, *self._some("note"), *optional, self.message], layout=row),
            widgets.HBox([left, right], layout=widgets.Layout(flex_flow=WRAP, border_top="1px solid #c3c9d0")),
            widgets.HBox([*self._some(*DRAWERS, "help"), self.go_to], layout=row),
            self.drawer,
            self.keys_shown,
            self.catcher,
        ]
        self.message.layout.flex = "1 1 160px"
        self.add_class(PANEL)
        self._show_keys("")

    def _some(self, *names: str) -> list[widgets.Button]:
        return [self.buttons[name] for name in names]

    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What each button and each key does."""
        dropping = {
            f"drop_{number}": lambda text=text: self._decide("drop", text)
            for number, text in enumerate(REASONS.values(), 1)
        }
        return {
            "keep": self._keep,
            "drop": lambda: self._decide("drop"),
            "edit": self._edit,
            "flag": lambda: self._decide("flag"),
            "skip": lambda: self._decide("skip"),
            "undo": lambda: self._turn(self.curation.undo, "nothing to undo", "taken back"),
            "redo": lambda: self._turn(self.curation.redo, "nothing to redo", "done again"),
            "previous": lambda: self._move(-1),
            "next": lambda: self._move(1),
            "save": self._save,
            "revert": self.editor.revert,
            "close": self._close_editor,
            "note": self._note,
            "rewrite": self._rewrite,
            "accept": self._accept,
            "decline": self._decline,
            "confirm": self._confirm,
            **dropping,
            **{name: lambda name=name: self._open(name) for name in DRAWERS},
            "help": self._help,
            "search": lambda: self.catcher.focus(SEARCH),
            "write_note": lambda: self.catcher.focus(NOTE),
        }

    def heard(self, name: str, card: int, fields: Mapping[str, str]) -> None:
        """A key, or the mouse over a button ("typed"), with the card and the wording that the person saw then."""
        if card == self.catcher.card and self.editor.is_open:
            self.run(lambda: self.editor.take(fields))
        self.clicked = card
        if name != "typed":
            self.press(name)

    def press(self, name: str) -> None:
        """Do what a button or a key does; nothing to a card that the person has not seen yet."""
        seen, self.clicked = self.clicked, None
        if name in ABOUT_CARD and seen not in (None, self.catcher.card):
            self._tell("That came before this card was on the screen, and was not used.")
        else:
            super().press(name)

    def _tell(self, text: str) -> None:
        self.message.value = f'<div class="rt-told">{html.escape(text)}</div>'

    # what is shown

    def _current(self) -> str:
        if self.pair_id is None:
            raise ValueError("no pair is shown; choose another list")
        return self.pair_id

    def _stored(self) -> dict[str, str]:
        return wording_of(self.curation.pair(self._current()))

    def _wording(self) -> dict[str, str]:
        """What the person sees: what is being typed, else what was left unsaved, else what is stored."""
        return self.editor.wording() or self.drafts.get(self._current()) or self._stored()

    def _leave(self) -> None:
        """Remember what was typed and not saved."""
        if self.pair_id is None:
            return
        if self.editor.is_open:
            self.drafts.pop(self.pair_id, None)
            if self.editor.wording() != self._stored():
                self.drafts[self.pair_id] = self.editor.wording()
            self.editor.end()
            self.catcher.focus()
        self.notes.pop(self.pair_id, None)
        if self.note.value.strip():
            self.notes[self.pair_id] = self.note.value

    def _first(self) -> None:
        """Make the list anew and show its first open pair."""
        self._leave()
        chosen = self.filters.value()
        found = matching(self.curation, chosen)
        ids = ordered(self.curation, found, self.filters.order.value, self.seed, self.embed)
        self.walk, self.settling = Walk(self.curation, ids, through=chosen.status in DECIDING), False
        self._go_on()

    def _go_through(self, ids: Sequence[str], settle: bool) -> None:
        """Make these pairs the list, in this order, until the filter changes."""
        self._leave()
        self.walk, self.settling = Walk(self.curation, ids, through=settle), settle
        self._go_on()
        self.catcher.to_top()

    def _go_on(self) -> None:
        self._show(self.walk.onward())

    def _move(self, step: int) -> None:
        self._leave()
        self._show(self.walk.step(step))

    def _jump(self, pair_id: str) -> None:
        if pair_id not in self.curation.pairs:
            raise ValueError(f"no pair with id {pair_id!r:.60}")
        self._leave()
        self.walk.visit(pair_id)
        self._show(pair_id)

    def _recall(self, pair_id: str) -> None:
        self._jump(pair_id)
        self.catcher.to_top()

    def _go_to(self) -> None:
        if wanted := self.go_to.value.strip():
            self._jump(wanted)
            self.go_to.value = ""

    def _show(self, pair_id: str | None) -> None:
        self.pair_id, self.offered = pair_id, None
        self.note.value = self.notes.get(pair_id or "", "")
        self.editor.end()
        self._draw_card()
        self.catcher.card += 1  # after the text of the card, so a key that names it is about what was seen

    def _draw_card(self) -> None:
        """Show the pair, or its text areas, and its source."""
        self.offer.layout.display = "" if self.offered else "none"
        if self.pair_id is None:
            self.state.value, self.source.value = "", ""
            self.card.value = "<p><i>No pair is left in this list.</i></p>"
            return
        pair, flags = self.curation.pair(self.pair_id), self.curation.flags.get(self.pair_id, ())
        shown, original = replace(pair, **self._wording()), self.curation.original(self.pair_id)
        if self.editor.is_open:
            self.card.value = flag_list(flags)
        else:
            self.card.value = wording(shown, self.sources, flags, original)
        if self.offered:
            self.source.value = wording(self.offered, self.sources, (), original)
        else:
            self.source.value = evidence(shown, self.sources, self.around)

    # decisions

    def _decide(self, action: str, note: str = "", **texts: str) -> None:
        pair_id = self._current()
        typed = self.note.value.strip()
        note = ": ".join(part for part in (note, typed) if part)
        self.curation.decide(pair_id, action, note=note, adjudication=self.settling and action in DECIDING, **texts)
        self.note.value = ""
        self._leave()
        if action in DECIDING:
            self.drafts.pop(pair_id, None)
        self._go_on()

    def _keep(self) -> None:
        """Keep what is shown: typing a correction and pressing Keep must not lose the correction."""
        shown = self._wording()
        if shown == wording_of(self.curation.original(self._current())):
            self._decide("keep")
        else:
            self._decide("edit", **shown)

    def _edit(self) -> None:
        if not self.editor.is_open:
            self.editor.begin(self._wording(), wording_of(self.curation.original(self._current())))
            self._draw_card()
        self.catcher.focus(f"{FIELD}answer")

    def _save(self) -> None:
        if self._wording() == self._stored():
            raise ValueError("nothing to save: press e or Edit and change the wording first")
        self._keep()

    def _close_editor(self) -> None:
        self._show_keys("")
        if self.editor.is_open:
            self._leave()
            self._draw_card()

    def _note(self) -> None:
        self.curation.decide(self._current(), "note", note=self.note.value)
        self.note.value = ""

    def _confirm(self) -> None:
        if not self.curation.confirm([self._current()]):
            raise ValueError("this pair has not changed since its decision")
        self._leave()
        self._go_on()

    def _turn(self, turn: Callable[[], Sequence], none: str, told: str) -> None:
        self._leave()
        events = turn()
        if not events:
            raise ValueError(none)
        if len(events) == 1:
            self._jump(events[0].pair_id)
        else:
            self._draw_card()
        self._tell(f"{told}: {events[0].action}" + (f", {len(events)} pairs" if len(events) > 1 else ""))

    def _decided_many(self, told: str) -> None:
        self._leave()
        self._go_on()
        self._tell(told)

    def _rewrite(self) -> None:
        """Ask the teacher; the answer is only an offer."""
        if self.rewrite is None:
            raise ValueError("no teacher is at hand here: open the panel with rewrite=")
        pair_id = self._current()
        self._leave()
        decision = self.curation.decision(pair_id)
        reason = self.note.value.strip() or (decision.note if decision else "")
        if not reason:
            raise ValueError("say in the note what is wrong with it")
        if self.curation.state(pair_id) not in ("drop", "flag"):
            self.curation.decide(pair_id, "flag", note=reason)
        self._tell("asking the teacher ...")
        new = self.rewrite(self.curation.pair(pair_id), reason)
        self.offered = replace(self.curation.original(pair_id), **wording_of(new), writer=new.writer)
        self.note.value = reason
        self._draw_card()
        self._tell("the new wording is on the right")

    def _accept(self) -> None:
        if self.offered is None:
            raise ValueError("there is no new wording; ask for one first")
        self._decide("edit", f"worded anew by {self.offered.writer}", **wording_of(self.offered))

    def _decline(self) -> None:
        self.offered = None
        self._draw_card()

    # what is below and above

    def _open(self, name: str) -> None:
        self.opened = "" if self.opened == name else name
        self.drawer.children = [self.drawers[name]] if self.opened else []

    def _help(self) -> None:
        self._show_keys("" if self.keys_shown.value else key_list(KEYS, MEANINGS))

    def _show_keys(self, text: str) -> None:
        self.keys_shown.value, self.keys_shown.layout.display = text, "" if text else "none"

    def draw(self) -> None:
        """Show how far the review is, how this pair stands, and the drawer that is open."""
        ids, pair_id = self.walk.ids, self.pair_id
        place = f"{self.walk.place + 1} of {len(ids)}" if pair_id and not self.walk.outside else f"{len(ids)} pairs"
        told = "; ".join(part for part in (f"list: {place}", pace_line(self.curation)) if part)
        self.status.value = (
            f'{progress(self.curation)}<div class="rt-line">{html.escape(self.summary())}</div>'
            f'<div class="rt-line">{html.escape(told)}. <span class="rt-keys"></span></div>'
        )
        self.state.value = standing_line(self.curation, pair_id, pair_id in self.drafts) if pair_id else ""
        stale = pair_id is not None and self.curation.state(pair_id) == "stale"
        self.buttons["confirm"].layout.display = "" if stale else "none"
        if self.opened:
            self.drawers[self.opened].refresh()

    def summary(self) -> str:
        """One line of plain text: how far the review is."""
        return summary_line(self.curation)

    def table(self, rows: int = 20) -> str:
        """The state as escaped HTML that needs no widget: the counts and what a person saw, the newest first."""
        return f"<p>{html.escape(self.summary())}</p>{decision_table(self.curation, rows)}"
