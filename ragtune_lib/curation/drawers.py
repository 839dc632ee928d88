"""What stands below the card while it is wanted: history, decisions about many pairs, the guidelines of the team.

Importing this module loads ipywidgets, since each drawer is made of widgets. A drawer is brought up to date when it is
opened and after each action while it is open (`refresh`), never behind a closed door.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ipywidgets as widgets

from ragtune_lib.curate import Curation
from ragtune_lib.curation.decision_table import line_of
from ragtune_lib.curation.events import DECIDING
from ragtune_lib.store import write_text

SHOWN = 12  # events in the history
EXAMPLES = 5  # questions in the preview of a bulk decision
GUIDELINES = "guidelines.md"
Run = Callable[[Callable[[], None]], None]


def button(label: str, act: Callable[[], None], run: Run, tip: str = "", style: str = "") -> widgets.Button:
    """A button as wide as its label, whose errors the panel shows."""
    made = widgets.Button(description=label, tooltip=tip, button_style=style, layout=widgets.Layout(width="auto"))
    made.on_click(lambda _: run(act))
    return made


def line(label: str, width: str) -> widgets.Text:
    """A field of one line that is read when it is left or with Enter."""
    layout, style = widgets.Layout(width=width), {"description_width": "initial"}
    return widgets.Text(description=label, continuous_update=False, layout=layout, style=style)


class History(widgets.VBox):
    """The newest events of all people; a click on one shows its pair.

    Args:
        curation: the review.
        jump: shows the pair with an id.
        run: how to do a thing whose error the panel shall show.
    """

    def __init__(self, curation: Curation, jump: Callable[[str], None], run: Run):
        super().__init__()
        self.curation, self.ids = curation, [""] * SHOWN
        self.rows = [
            button("", lambda place=place: jump(self.ids[place]), run, "show this pair") for place in range(SHOWN)
        ]
        for row in self.rows:
            row.add_class("rt-row")
        self.none = widgets.HTML("Nothing is decided yet.")
        self.children = [self.none, *self.rows]

    def refresh(self) -> None:
        """Show the newest events."""
        events = self.curation.history(SHOWN)
        self.none.layout.display = "none" if events else ""
        for place, row in enumerate(self.rows):
            row.layout.display = "" if place < len(events) else "none"
            if place < len(events):
                event = events[place]
                self.ids[place] = event.pair_id
                who, why = (
                    (f" by {event.reviewer}" if event.reviewer else ""),
                    (f" ({event.note})" if event.note else ""),
                )
                question = self.curation.pair(event.pair_id).question
                row.description = line_of(f"{event.action}{who}{why}: {question}", 140)


class Bulk(widgets.VBox):
    """One decision about every pair of the list, after a look at what that is; one undo takes it back.

    Args:
        curation: the review.
        listed: the ids of the list as it is.
        done: called after the decision with a sentence about it.
        run: how to do a thing whose error the panel shall show.
    """

    def __init__(self, curation: Curation, listed: Callable[[], Sequence[str]], done: Callable[[str], None], run: Run):
        super().__init__()
        self.curation, self.listed, self.done = curation, listed, done
        self.ids: list[str] = []  # what the preview showed; the decision is about nothing else
        self.seen: tuple[Sequence[str], int] = ((), 0)  # list and number of events at the preview
        wide = {"description_width": "initial"}
        self.action = widgets.Dropdown(
            options=("keep", "drop", "flag"), description="Decide", style=wide, layout={"width": "auto"}
        )
        self.note = widgets.Text(description="Reason", style=wide, layout=widgets.Layout(width="260px"))
        self.decided_too = widgets.Checkbox(description="decided ones as well", indent=False)
        self.preview = button("Preview", self.look, run, "show what this would decide")
        self.confirm = button("", self.decide, run, "write these decisions down as one step")
        self.told = widgets.HTML()
        for box in (self.action, self.note, self.decided_too):
            box.observe(lambda _: self._forget(), names="value")
        row = widgets.HBox([self.action, self.note, self.decided_too, self.preview, self.confirm])
        row.layout.flex_flow = "row wrap"
        self.children = [row, self.told]
        self._forget()

    def refresh(self) -> None:
        """Ask for a new preview where the list or a decision is another than when it was made."""
        listed, count = self.seen
        if listed is not self.listed() or count != len(self.curation.decisions):
            self._forget()

    def _forget(self) -> None:
        self.ids = []
        self.confirm.layout.display = "none"
        self.told.value = "A decision about every pair of the list above. Choose what, then look at the preview."

    def look(self) -> None:
        """Count the pairs and show the first of them."""
        listed = self.listed()
        self.seen = listed, len(self.curation.decisions)
        states = [self.curation.state(pair_id) for pair_id in listed]
        wanted = zip(listed, states, strict=True)
        self.ids = [pair_id for pair_id, state in wanted if self.decided_too.value or state not in DECIDING]
        left = len(listed) - len(self.ids)
        spared = f"; {left} that are decided stay as they are" if left else ""
        rows = "".join(
            f"<li>{html.escape(line_of(self.curation.pair(one).question))}</li>" for one in self.ids[:EXAMPLES]
        )
        more = f"<p>and {len(self.ids) - EXAMPLES} more</p>" if len(self.ids) > EXAMPLES else ""
        self.told.value = f"<p><b>{self.action.value} {len(self.ids)} pairs</b>{spared}:</p><ol>{rows}</ol>{more}"
        self.confirm.button_style = "danger" if self.action.value == "drop" else "success"
        self.confirm.description = f"{self.action.value.title()} {len(self.ids)} pairs"
        self.confirm.layout.display = "" if self.ids else "none"

    def decide(self) -> None:
        """Decide about what the preview showed."""
        if not self.ids:
            raise ValueError("look at the preview first")
        count = self.curation.bulk(self.ids, self.action.value, note=self.note.value.strip())
        self.done(f"{self.action.value}: {count} pairs in one step; Undo takes them all back")


class Guidelines(widgets.VBox):
    """What the team has agreed on, in `guidelines.md` of the run folder, to read and to change.

    Args:
        folder: the run folder.
        run: how to do a thing whose error the panel shall show.
    """

    def __init__(self, folder: Path, run: Run):
        super().__init__()
        self.path, self.read = folder / GUIDELINES, ""
        self.text = widgets.Textarea(
            description="Guidelines",
            placeholder="When to keep, when to drop, how to word an answer: what the team has agreed on.",
            rows=10,
            layout=widgets.Layout(width="100%"),
        )
        self.save_button = button("Save guidelines", self.save, run, f"write {GUIDELINES}")
        self.load_button = button("Read again", self.load, run, f"read {GUIDELINES}, what is typed here is lost")
        self.children = [self.text, widgets.HBox([self.save_button, self.load_button])]
        self.load()

    def refresh(self) -> None:
        """Show what is on the disk, unless something was typed."""
        if self.text.value == self.read:
            self.load()

    def load(self) -> None:
        """Show what is on the disk."""
        self.read = self.text.value = self._on_disk()

    def save(self) -> None:
        """Replace the file as a whole.

        Raises:
            ValueError: if somebody else has changed it since it was read here.
        """
        if self._on_disk() != self.read:
            raise ValueError(f"{self.path.name} was changed by somebody else: copy your text, press Read again, add it")
        write_text(self.path, self.text.value)
        self.read = self.text.value

    def _on_disk(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""


def key_list(bindings: Mapping[str, str], told: Mapping[str, str]) -> str:
    """Escaped HTML of the keys and what they do, in the order of `told`."""
    shown = {" ": "space", "Escape": "Esc", "Ctrl+s": "Ctrl+S", "Ctrl+z": "Ctrl+Z", "Ctrl+y": "Ctrl+Y"}
    rows = []
    for name, meaning in told.items():
        pressed = " or ".join(
            f"<kbd>{html.escape(shown.get(key, key))}</kbd>" for key, one in bindings.items() if one == name
        )
        rows.append(f"<tr><td>{pressed}</td><td>{html.escape(meaning)}</td></tr>")
    return f"<table>{''.join(rows)}</table>"
