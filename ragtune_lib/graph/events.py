"""What decisions about the graph have in common: a file of events that is only appended to, and what stands of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from ragtune_lib.records import AliasDecision, GraphEdit, Problem
from ragtune_lib.store import append_record, to_record

STAGE = "02_graph"
Event = TypeVar("Event", AliasDecision, GraphEdit)


def standing(events: Iterable[Event]) -> list[Event]:
    """Events that were not taken back, in order, without the undo events themselves.

    An undo takes back the same reviewer's last standing event about the same thing; one that finds none does nothing.
    """
    left: list[Event] = []
    for event in events:
        if event.action != "undo":
            left.append(event)
            continue
        same = (event.about, event.reviewer)
        taken = next((at for at in reversed(range(len(left))) if (left[at].about, left[at].reviewer) == same), None)
        if taken is not None:
            del left[taken]
    return left


def read_events(path: Path, kind: type[Event], complaint: Callable[[Event], str]) -> tuple[list[Event], list[Problem]]:
    """Read a file of events; a missing one is empty.

    Args:
        path: the file.
        kind: the type of its events.
        complaint: what makes an event unusable, "" when nothing does.

    Returns:
        The events in order, and a problem with file and line for each line that is none. Such a line stays in the file.
    """
    events: list[Event] = []
    problems: list[Problem] = []
    if not path.exists():
        return events, problems
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            where = f"{path.name}, line {number}"
            try:
                if line.strip():
                    events.append(_event(line, kind, complaint, where))
            except ValueError as error:
                problems.append(Problem(STAGE, where, str(error)))
    return events, problems


def _event(line: bytes, kind: type[Event], complaint: Callable[[Event], str], where: str) -> Event:
    try:
        row = json.loads(line)
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f"{where}: {error}") from error
    event = to_record(kind, row, where)
    if reason := complaint(event):
        raise ValueError(f"{where}: {reason}")
    return event


class EventLog(Generic[Event]):
    """The events of one file and the way to add to them; every one is on the disk before anything shows it.

    Args:
        path: the file, in the run folder.
        kind: the type of its events.
        complaint: what makes an event unusable, "" when nothing does.
        reviewer: name written into each event; undo only takes back this reviewer's own.
    """

    def __init__(self, path: Path, kind: type[Event], complaint: Callable[[Event], str], reviewer: str = ""):
        self.path, self.reviewer = path, reviewer
        self.events, self.problems = read_events(path, kind, complaint)
        self._complaint = complaint
        self._lock = threading.RLock()  # widget callbacks may run on another thread than the notebook's cells

    def standing(self) -> list[Event]:
        """Events that were not taken back, in order."""
        with self._lock:
            return standing(self.events)

    def append(self, event: Event) -> Event:
        """Write one event with reviewer and time and return it.

        Raises:
            ValueError: if the event makes no sense.
            OSError: if it cannot be written; the state is then unchanged.
        """
        if reason := self._complaint(event):
            raise ValueError(reason)
        with self._lock:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            event = replace(event, reviewer=self.reviewer, at=now)
            append_record(self.path, event)
            self.events.append(event)
        return event

    def undo(self) -> Event | None:
        """Take back this reviewer's last standing event and return it; None when there is none."""
        with self._lock:
            own = [event for event in self.standing() if event.reviewer == self.reviewer]
            if own:
                self.append(replace(own[-1], action="undo"))
            return own[-1] if own else None
