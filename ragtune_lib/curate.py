"""What people decide about pairs: the state that follows from their events, and the way to change it.

Events are appended to one file per person and never changed; `curation.events` has the rules of what counts. So a
restarted kernel goes on where it stopped, files of several people merge by being in one folder, and a line that cannot
be read is reported and stays where it is.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ragtune_lib.curation.events import (
    DECIDING,
    OPEN,
    TURNS,
    Entry,
    Fold,
    Step,
    as_line,
    complaint_about,
    decisions_file,
    pair_hash,
    read_file,
    read_folder,
    stale_problem,
    uncollected,
)
from ragtune_lib.records import Chunk, Decision, Flag, QAPair
from ragtune_lib.store import ROOT, append_records, content_id
from ragtune_lib.text import content_words

POLICIES = ("use", "leave out")
STATES = ("undecided", *DECIDING, *OPEN, "stale")
SITTING_S = 300  # a longer break between two decisions ends a sitting, in seconds


def _used(state: str, blocked: bool) -> bool:
    return state != "drop" and (state in DECIDING or not blocked)


def worded(pair: QAPair, decision: Decision | None) -> QAPair:
    """The pair in the wording of an edit, or as it was; cues go when a word of them is no longer in the reasoning."""
    if decision is None or decision.action != "edit":
        return pair
    wording = {"question": decision.question, "reasoning": decision.reasoning, "answer": decision.answer}
    cues = pair.cues.split("\n")
    told = decision.reasoning.split("\n") if len(cues) > 1 else [decision.reasoning]
    # else they would announce what is no longer recalled
    kept = len(cues) == len(told) and all(map(_announce, cues, told))
    return replace(pair, **wording, cues=pair.cues if kept else "", writer="person")


def _announce(cues: str, text: str) -> bool:
    return content_words(cues) <= content_words(text)


class Curation:
    """The state of reviewing one run's pairs, and the way to change it; every change is on the disk before it shows.

    State is kept up to date with each event, so no question about it goes through all pairs but `kept`.

    Args:
        folder: the run folder; all its decisions files are read, and new events go to this reviewer's own.
        pairs: the pairs under review, with distinct ids.
        flags: what the checks found.
        reviewer: who decides; letters, digits, "_" and "-". Undo and redo only concern this reviewer's steps.
        chunks: the source, for filters by document and for the panel.
        blind: ids of the only pairs to review, without reading what others decided; see `curation.second_pass`.
        replay: a file of decisions from elsewhere, "" for none; they count as if it were in the folder.

    Raises:
        ValueError: for a reviewer that could be no part of a file name.
        FileNotFoundError: if there is no file to replay.
    """

    def __init__(
        self,
        folder: Path,
        pairs: Sequence[QAPair],
        flags: Sequence[Flag],
        reviewer: str = "",
        chunks: Sequence[Chunk] = (),
        blind: Sequence[str] | None = None,
        replay: str = "",
    ):
        self.folder, self.reviewer = folder, reviewer
        self.path = decisions_file(folder, reviewer)
        self.pairs = {pair.id: pair for pair in pairs}
        self.flags: dict[str, list[Flag]] = {}
        for flag in flags:
            self.flags.setdefault(flag.pair_id, []).append(flag)
        self.chunks = {chunk.id: chunk for chunk in chunks}
        self.searched: dict[str, str] = {}  # texts prepared for the search, see `curation.queues`
        self.communities: dict[str, set[str]] = {}  # chunk ids of each, likewise
        self.vectors: Any = None  # of the questions as they were made, likewise
        self._lock = threading.RLock()  # widget callbacks may run on another thread than the notebook's cells
        with uncollected():
            entries, self.problems = (
                read_folder(folder, self.pairs) if blind is None else read_file(self.path, self.pairs)
            )
            if replay:
                entries = self._replayed(ROOT / replay, entries)
            if blind is not None:
                self.pairs = {pair_id: self.pairs[pair_id] for pair_id in blind}
            self.flags = {pair_id: found for pair_id, found in self.flags.items() if pair_id in self.pairs}
            self.blocked = {pair_id for pair_id, found in self.flags.items() if any(flag.blocks for flag in found)}
            self._fold(entries)

    def _replayed(self, path: Path, entries: Sequence[Entry]) -> list[Entry]:
        """The events with those of a file from elsewhere, in order; its name is told apart from those of the folder."""
        if not path.is_file():
            raise FileNotFoundError(f"there is no file of decisions {path}; write its path, or nothing to replay none")
        more, bad = read_file(path, self.pairs)
        self.problems += bad
        return sorted([*entries, *((at, f"{path.parent.name}/{file}", line, event) for at, file, line, event in more)])

    def _fold(self, entries: Sequence[Entry]) -> None:
        """Find the state that follows from what was read."""
        self.events = Fold()
        for entry in entries:
            self.events.add(entry)
        self.decisions = [entry[3] for entry in entries]  # all of them, undo and redo included, in order
        own = (entry for entry in reversed(entries) if entry[1] == self.path.name)
        self._latest, _, self._line, _ = next(own, ("", "", 0, None))  # time and line of the last own event
        self._words: dict[str, Decision] = {}
        self._states = {one: self._look(one) for one in self.events.about if one in self.pairs}  # others: undecided
        groups = Counter(zip(map(self.state, self.pairs), map(self.blocked.__contains__, self.pairs), strict=True))
        self._counts = Counter[str]()
        for (state, _), count in groups.items():
            self._counts[state] += count
        self._kept = sum(count for group, count in groups.items() if _used(*group))
        for pair_id in [pair_id for pair_id, state in self._states.items() if state == "stale"]:
            _, file, line = max(entry[:3] for entry in self.events.words(pair_id).values())
            what = f"the evidence or the wording of pair {pair_id} has changed"
            self.problems.append(stale_problem(f"{file}, line {line}", what))

    def _look(self, pair_id: str) -> str:
        """The state of a pair by the events; remembers what counts about it."""
        if word := self.events.word(pair_id, pair_hash(self.pairs[pair_id])):
            self._words[pair_id] = word
            return word.action
        self._words.pop(pair_id, None)
        return "stale" if self.events.word(pair_id) else "undecided"

    def _settle(self, pair_id: str) -> None:
        """Bring state, counts and search up to date with the events about one pair."""
        before, blocked = self.state(pair_id), pair_id in self.blocked
        state = self._states[pair_id] = self._look(pair_id)
        self._counts[before] -= 1
        self._counts[state] += 1
        self._kept += _used(state, blocked) - _used(before, blocked)
        self.searched.pop(pair_id, None)

    def decide(
        self,
        pair_id: str,
        action: str,
        question: str = "",
        reasoning: str = "",
        answer: str = "",
        note: str = "",
        adjudication: bool = False,
    ) -> Decision:
        """Append one event: keep, drop, edit (with the whole new wording), flag, skip or note.

        Args:
            pair_id: the pair.
            action: what to do with it.
            question: new wording of an edit, with reasoning and answer.
            reasoning: likewise.
            answer: likewise.
            note: the reason, or the text of a note.
            adjudication: settle what others disagree about; their decisions, also later ones, then do not count.

        Raises:
            ValueError: unknown pair or action, an edit without question or answer, a note without text, an adjudication
                without a named reviewer.
            OSError: if the event cannot be written; the state is then unchanged.
        """
        event = Decision(pair_id, action, question, reasoning, answer, note, adjudication=adjudication)
        return self.record([event])[0]

    def bulk(self, pair_ids: Iterable[str], action: str, note: str = "") -> int:
        """Decide the same about many pairs in one step, which one undo takes back; returns their number.

        Raises:
            ValueError: as in `decide`; nothing is written then.
            OSError: if it cannot be written. What reached the disk counts when the folder is read again, and can be
                taken back as one step.
        """
        return len(self.record([Decision(pair_id, action, note=note) for pair_id in dict.fromkeys(pair_ids)]))

    def confirm(self, pair_ids: Iterable[str]) -> int:
        """Decide again about stale pairs what was decided before they changed, in one step; returns their number."""
        stale = [pair_id for pair_id in dict.fromkeys(pair_ids) if self.state(pair_id) == "stale"]
        words = [self.events.word(pair_id) for pair_id in stale]
        return len(self.record([replace(word, at="", adjudication=False) for word in words]))

    def record(self, events: Sequence[Decision]) -> list[Decision]:
        """Append events of one step in one write; reviewer, step and content are filled in, the time where missing.

        Raises:
            ValueError, OSError: as in `bulk`.
        """
        with self._lock:
            now = _now()
            step = content_id(self.reviewer, now, self._line, *(event.pair_id for event in events[:1]))
            made = []
            for event in events:
                if event.pair_id not in self.pairs:
                    raise ValueError(f"no pair with id {event.pair_id!r:.60}")
                if event.action in TURNS:
                    raise ValueError(f"use {event.action}() for that")
                content = pair_hash(self.pairs[event.pair_id])
                own = "" if event.action == "note" else step
                made.append(replace(event, reviewer=self.reviewer, at=event.at or now, step=own, content=content))
                if complaint := complaint_about(made[-1]):
                    raise ValueError(complaint)
            self._append(made)
            return made

    def _append(self, events: Sequence[Decision]) -> None:
        if not events:
            return
        append_records(self.path, map(as_line, events))
        for event in events:
            self._latest, self._line = max(self._latest, event.at), self._line + 1
            self.decisions.append(event)
            self.events.add((self._latest, self.path.name, self._line, event))
            if event.action not in TURNS:
                self._settle(event.pair_id)

    def undo(self) -> list[Decision]:
        """Take back this reviewer's last standing step (notes are none) and return its events; [] when there is none.

        Steps about pairs that are all gone are passed over. OSError as in `decide`.
        """
        return self._turn("undo", self.events.done[self.reviewer])

    def redo(self) -> list[Decision]:
        """Restore the step that was taken back last, unless something was decided since; [] when there is none."""
        return self._turn("redo", self.events.redoable[self.reviewer])

    def _turn(self, action: str, steps: dict[Step, Entry]) -> list[Decision]:
        with self._lock:
            for step in reversed(steps):
                here = [event for event in self.events.of_step(step) if event.pair_id in self.pairs]
                if here:
                    turn = Decision(here[0].pair_id, action, reviewer=self.reviewer, at=_now(), step=here[0].step)
                    self._append([turn])
                    for event in here:
                        self._settle(event.pair_id)
                    return here
            return []

    def state(self, pair_id: str) -> str:
        """How a pair stands, one of `STATES`; "stale" where it is not what was decided about any more."""
        return self._states.get(pair_id, "undecided")

    def pair(self, pair_id: str) -> QAPair:
        """The pair as it stands, a person's edit applied."""
        return worded(self.pairs[pair_id], self._words.get(pair_id))

    def original(self, pair_id: str) -> QAPair:
        """The pair as it was made."""
        return self.pairs[pair_id]

    def decision(self, pair_id: str) -> Decision | None:
        """The event that gives a pair its state; None for undecided and stale ones."""
        return self._words.get(pair_id)

    def history(self, limit: int | None = None) -> list[Decision]:
        """Standing events of all people about pairs that are still here, notes included, the newest first."""
        found = []
        with self._lock:
            for entry in reversed(self.events.entries):
                if limit is not None and len(found) >= limit:
                    break
                if self.events.stands(entry) and entry[3].pair_id in self.pairs:
                    found.append(entry[3])
        return found

    def counts(self) -> dict[str, int]:
        """Number of pairs in all, decided, in each state, flagged and blocked by checks, and used as things stand."""
        return {
            "pairs": len(self.pairs),
            "decided": sum(self._counts[name] for name in DECIDING),
            **{name: self._counts[name] for name in STATES},
            "flagged": len(self.flags),
            "blocked": len(self.blocked),
            "kept": self._kept,
        }

    def kept(self, undecided: str = "use") -> list[QAPair]:
        """The pairs to train on as things stand, in order; the person has the last word.

        Kept pairs are in even when a check blocks them, dropped ones are out, and edited ones are in with the person's
        wording, `writer` "person" and the id of the original. All others (undecided, flagged, skipped, stale) are in
        unless a check blocks them.

        Args:
            undecided: "use" those others, or "leave out" all of them.

        Raises:
            ValueError: for another policy.
        """
        if undecided not in POLICIES:
            raise ValueError(f"policy {undecided!r:.60}, expected one of {', '.join(POLICIES)}")
        used = [pair_id for pair_id in self.pairs if _used(self.state(pair_id), pair_id in self.blocked)]
        if undecided == "leave out":
            used = [pair_id for pair_id in used if self.state(pair_id) in DECIDING]
        return [self.pair(pair_id) for pair_id in used]

    def rate(self) -> float | None:
        """Steps per minute of this reviewer's current sitting; None before its second step and when it is over."""
        times = [datetime.now(UTC)]
        for entry in reversed(self.events.done[self.reviewer].values()):
            at = _time(entry[3].at)
            if at is None or (times[-1] - at).total_seconds() > SITTING_S:
                break
            times.append(at)
        minutes = (times[1] - times[-1]).total_seconds() / 60 if len(times) > 2 else 0
        return (len(times) - 2) / minutes if minutes > 0 else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
