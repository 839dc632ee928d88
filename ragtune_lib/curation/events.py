"""Events of the people who decide about pairs: their files, one order for all, and what counts when they differ.

Each person appends to a file of their own, `decisions-NAME.jsonl`; who gives no name shares `decisions.jsonl`. Nothing
is ever changed or removed, so files may be copied into one run folder from anywhere. The rules:

- **Order.** Events count in the order of time, then file, then line. A line never counts as earlier than the line
  before it in its file, also where a clock was set back. Between people their clocks decide.
- **One person.** Somebody's word about a pair is their last standing keep, edit, drop, flag or skip. A flag or a skip
  decides nothing: it sets one's own earlier decision aside. Notes never change anything.
- **Several people.** The last decision (keep, edit, drop) in time counts; a flag or a skip of one person takes
  nothing from the decision of another. A decision marked as adjudication, which needs a name, overrides all that are
  none, also later ones; of several adjudications the last counts. Without any decision the last flag or skip is
  shown.
- **Undo and redo** take back or restore a whole step of the same person: all events with its step id. A restored step
  stands where it stood, as though it had never been taken back. An event without step id (earlier versions) is a step
  of its own; its undo names the pair, and means that person's last standing event about it.
- **Stale.** A decision holds for the pair that was looked at: its wording and which evidence it names (`pair_hash`).
  Chunk ids follow the text of their document, so a changed source makes decisions stale too. A stale one is not used,
  and counts again when the pair is as it was.
"""

from __future__ import annotations

import gc
import hashlib
import json
import re
from bisect import insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ragtune_lib.records import Decision, Problem, QAPair
from ragtune_lib.store import to_record

STAGE = "04_curate"
ACTIONS = get_args(get_type_hints(Decision)["action"])
DECIDING = ("keep", "edit", "drop")
OPEN = ("flag", "skip")  # said about a pair without deciding it
TURNS = ("undo", "redo")
PLAIN = frozenset({"keep", "drop", *OPEN, *TURNS})  # nothing can be wrong with them alone
FILES = "decisions*.jsonl"  # in a run folder
FILE = re.compile(r"decisions(?:-[A-Za-z0-9_-]+)?\.jsonl")
TEXTS = [name for name, kind in get_type_hints(Decision).items() if kind is not bool]
texts_of = attrgetter(*TEXTS)
DEFAULTS = {field.name: field.default for field in fields(Decision)}
decode = json.JSONDecoder().raw_decode

Place = tuple[str, str, int]  # time, file, line: where an event stands among those of all people
Entry = tuple[str, str, int, Any]  # its place, and the event
Step = str | Place  # the id of a step; the place of an event that has none


def pair_hash(pair: QAPair) -> str:
    """Hash of what a person decides about: question, reasoning, answer and the ids of the evidence; 16 hex digits.

    The id of a pair does not do: it leaves the evidence out, and a file edited by hand keeps it.
    """
    parts = (pair.question, pair.reasoning, pair.answer, *pair.evidence_ids)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Fold:
    """What follows from events, kept up to date with each one; see the top of this module for the rules.

    Verdicts of other kinds, with their own actions and without steps, fold the same way.

    Args:
        events: in order.
    """

    def __init__(self, events: Iterable[Any] = ()):
        self.entries: list[Entry] = []  # all events but undo and redo, by place
        self.about: dict[str, list[Entry]] = {}  # the same by pair
        # steps with their first event: those that stand, by reviewer, oldest first; and those that are taken back
        self.done: defaultdict[str, dict[Step, Entry]] = defaultdict(dict)
        self.back: dict[Step, Entry] = {}
        self.redoable: defaultdict[str, dict[Step, Entry]] = defaultdict(dict)  # since the reviewer's last decision
        for number, event in enumerate(events):
            self.add(("", "", number, event))

    def add(self, entry: Entry) -> None:
        """Count one more event."""
        event = entry[3]
        if event.action in TURNS:
            self._turn(event)
            return
        _insert(self.entries, entry)
        others = self.about.get(event.pair_id)
        if others is None:
            self.about[event.pair_id] = [entry]
        else:
            _insert(others, entry)
        if event.action != "note":
            self.done[event.reviewer].setdefault(_step(entry), entry)
            if event.reviewer in self.redoable:
                self.redoable[event.reviewer].clear()

    def _turn(self, event: Any) -> None:
        """Take a step back or restore it; an event that finds none (its lines were deleted by hand) does nothing."""
        undo = event.action == "undo"
        done, redoable = self.done[event.reviewer], self.redoable[event.reviewer]
        step: Step = getattr(event, "step", "")
        if not step:
            about = {_step(entry) for entry in self.about.get(event.pair_id, ())}
            step = next((one for one in reversed(done if undo else redoable) if one in about), "")
        if undo and step in done:
            redoable[step] = self.back[step] = done.pop(step)
        elif not undo and step in self.back and self.back[step][3].reviewer == event.reviewer:
            redoable.pop(step, None)
            done[step] = self.back.pop(step)

    def of_step(self, step: Step) -> list[Any]:
        """The events of a step in order."""
        return [entry[3] for entry in self.entries if _step(entry) == step]

    def words(self, pair_id: str, content: str = "", adjudications: bool = True) -> dict[str, Entry]:
        """The word of each person about a pair, by name.

        Args:
            pair_id: of the pair.
            content: its hash; what was said about another content is left out. "" takes everything.
            adjudications: whether adjudications count as somebody's word.
        """
        said = self._said(pair_id, content)
        return {entry[3].reviewer: entry for entry in said if adjudications or not entry[3].adjudication}

    def _said(self, pair_id: str, content: str) -> list[Entry]:
        """What stands about a pair or a content of it, notes left out, in order."""
        said = [one for one in self.about.get(pair_id, ()) if one[3].action != "note"]
        if content:
            said = [one for one in said if one[3].content in ("", content)]
        return [one for one in said if self.stands(one)] if self.back else said

    def word(self, pair_id: str, content: str = "") -> Any | None:
        """What counts about a pair, None when nothing was said or nothing stands; `content` as in `words`."""
        entries = self.about.get(pair_id, ())
        if len(entries) == 1 and not self.back:  # nearly always, and fast
            event = entries[0][3]
            return event if event.action != "note" and (not content or event.content in ("", content)) else None
        words = self._said(pair_id, content)
        if len(words) > 1:
            words = sorted(self.words(pair_id, content).values())
            words = [entry for entry in words if entry[3].action not in OPEN] or words
            words = [entry for entry in words if getattr(entry[3], "adjudication", False)] or words
        return words[-1][3] if words else None

    def stands(self, entry: Entry) -> bool:
        """Whether an event was not taken back."""
        return not self.back or _step(entry) not in self.back

    def standing(self) -> list[Any]:
        """Events that were not taken back, in order, without undo and redo."""
        return [entry[3] for entry in self.entries if self.stands(entry)]


_place = itemgetter(0, 1, 2)


def _insert(entries: list[Entry], entry: Entry) -> None:
    if entries and entry[0] <= entries[-1][0] and _place(entry) < _place(entries[-1]):
        insort(entries, entry, key=_place)  # a clock of somebody else is ahead
    else:
        entries.append(entry)


def _step(entry: Entry) -> Step:
    return getattr(entry[3], "step", "") or entry[:3]


@contextmanager
def uncollected() -> Iterator[None]:
    """Make many objects without cycles: the collector would walk all pairs again and again, for a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def standing(events: Iterable[Any]) -> list[Any]:
    """Events that were not taken back, in order, without the undo and redo events themselves.

    An undo takes back the same reviewer's last standing event of the pair that it names, or the step that it names. One
    that finds none does nothing. Notes decide nothing and are never taken back.
    """
    return Fold(events).standing()


def fold(events: Iterable[Any]) -> dict[str, Any]:
    """The decision that counts for each decided pair; events in order, stale ones included."""
    folded = Fold(events)
    words = {pair_id: folded.word(pair_id) for pair_id in folded.about}
    return {pair_id: word for pair_id, word in words.items() if word and word.action not in OPEN}


def decisions_file(folder: Path, reviewer: str) -> Path:
    """The file that a person appends to.

    Raises:
        ValueError: for a name that could be no part of a file name.
    """
    path = folder / (f"decisions-{reviewer}.jsonl" if reviewer else "decisions.jsonl")
    if not FILE.fullmatch(path.name):
        raise ValueError(f"reviewer {reviewer!r:.60}: use letters, digits, '_' and '-' only, e.g. reviewer=ada")
    return path


def read_folder(folder: Path, pair_ids: Collection[str]) -> tuple[list[Entry], list[Problem]]:
    """Every event of all people in a run folder, in the order in which they count.

    Returns:
        The events with their places, and one Problem for each line that is no event, for each event about a pair that
        is not in `pair_ids` (it is among the events too), and for each file whose name is not one of ours.
    """
    events: list[Entry] = []
    problems: list[Problem] = []
    for path in sorted(folder.glob(FILES)):
        if FILE.fullmatch(path.name):
            more, bad = read_file(path, pair_ids)
            events += more
            problems += bad
        else:
            reason = f"{path.name}: not read; rename it to decisions-NAME.jsonl, NAME of letters, digits, '_' and '-'"
            problems.append(Problem(STAGE, path.name, reason))
    return sorted(events), problems  # by place alone, since no two have the same file and line


def read_file(path: Path, pair_ids: Collection[str]) -> tuple[list[Entry], list[Problem]]:
    """As `read_folder`, of one file in the order of its lines; a missing file is an empty one."""
    events: list[Entry] = []
    problems: list[Problem] = []
    if not path.exists():
        return events, problems
    file, latest = path.name, ""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.isspace():
                continue
            try:
                event = _decision(line)
            except ValueError as error:
                problems.append(Problem(STAGE, f"{file}, line {number}", f"{file}, line {number}: {error}"))
                continue
            if event.at > latest:
                latest = event.at
            events.append((latest, file, number, event))
            if event.pair_id not in pair_ids and event.action not in TURNS:
                what = f"pair {event.pair_id!r:.60} is gone or was worded anew"
                problems.append(stale_problem(f"{file}, line {number}", what))
    return events, problems


def stale_problem(where: str, what: str) -> Problem:
    """What to say about an event that is kept and not used, since its pair is not what it was."""
    return Problem(STAGE, where, f"{where}: stale, {what}; the line is kept and not used")


def as_line(event: Decision) -> dict[str, Any]:
    """An event as it is written: what is as by default is left out, which makes files half as long to read."""
    return {name: value for name in DEFAULTS if (value := getattr(event, name)) != DEFAULTS[name]}


def _decision(line: bytes) -> Decision:
    """One event; ValueError says what is wrong with a line that is none."""
    try:
        text = line.decode().removeprefix("\ufeff").strip()
        row, end = decode(text)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a line of JSON: {error}") from error
    if end != len(text):
        raise ValueError(f"not a line of JSON: more after column {end}")
    try:
        decision = Decision(**row)
    except TypeError as error:
        missing = [name for name in ("pair_id", "action") if isinstance(row, dict) and name not in row]
        if missing:
            raise ValueError(f"missing field {missing[0]!r}") from error
        decision = to_record(Decision, row, "no event")  # says what is wrong
    if set(map(type, row.values())) != {str} and set(map(type, texts_of(decision))) != {str}:
        name, value = next(one for one in zip(TEXTS, texts_of(decision), strict=True) if not isinstance(one[1], str))
        raise ValueError(f"field {name!r}: expected text, got {value!r:.60}")
    if (decision.action not in PLAIN or decision.adjudication) and (complaint := complaint_about(decision)):
        raise ValueError(complaint)
    return decision


def complaint_about(decision: Decision) -> str:
    """What makes an event unusable, "" when nothing does."""
    if decision.action not in ACTIONS:
        return f"unknown action {decision.action!r:.60}, expected one of {', '.join(ACTIONS)}"
    if decision.action == "edit" and not (decision.question.strip() and decision.answer.strip()):
        return "an edit needs a question and an answer"
    if decision.action == "note" and not decision.note.strip():
        return "a note needs a text"
    if decision.adjudication is not False and not (decision.adjudication is True and decision.reviewer):
        return "an adjudication is true or false, and needs a named reviewer"
    return ""
