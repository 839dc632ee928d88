"""What a person decides about pairs: events appended to decisions.jsonl, and the state that follows from them.

The file is only ever appended to. State is a fold of its events, so a restarted kernel goes on where it stopped, and
a line that cannot be read is reported and stays where it is.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args, get_type_hints

from ragtune_lib.records import Decision, Flag, Problem, QAPair
from ragtune_lib.store import append_record, to_record
from ragtune_lib.text import content_words

ACTIONS = get_args(get_type_hints(Decision)["action"])
VIEWS = ("undecided", "flagged", "all", "local", "global")


def standing(decisions: Iterable[Decision]) -> list[Decision]:
    """Events that were not taken back, in order, without the undo events themselves.

    An undo takes back the same reviewer's last standing keep, edit or drop of the pair that it names. One that finds
    none (its decision was deleted by hand) does nothing. Notes decide nothing and are never taken back.
    """
    events: list[Decision] = []
    for event in decisions:
        if event.action != "undo":
            events.append(event)
            continue
        for index in reversed(range(len(events))):
            other = events[index]
            if other.action != "note" and (other.pair_id, other.reviewer) == (event.pair_id, event.reviewer):
                del events[index]
                break
    return events


def fold(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """The decision that counts for each decided pair: its last standing keep, edit or drop."""
    return {event.pair_id: event for event in standing(decisions) if event.action != "note"}


def seen(decisions: Iterable[Decision]) -> int:
    """Number of pairs that a person decided, pairs that are gone included; `Curation.counts` leaves those out."""
    return len(fold(decisions))


def kept_pairs(pairs: Sequence[QAPair], flags: Iterable[Flag], decisions: Iterable[Decision]) -> list[QAPair]:
    """The pairs to train on, in order; the person has the last word.

    Kept pairs are in even when a check blocks them, dropped ones are out, and edited ones are in with the person's
    wording, `writer` "person" and the id of the original. Undecided pairs are in unless a flag blocks them. A pair that
    occurs twice is in once.
    """
    decided = fold(decisions)
    blocked = {flag.pair_id for flag in flags if flag.blocks}
    kept = []
    for pair in {pair.id: pair for pair in pairs}.values():
        decision = decided.get(pair.id)
        if decision is None and pair.id not in blocked:
            kept.append(pair)
        elif decision is not None and decision.action != "drop":
            kept.append(worded(pair, decision))
    return kept


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


def read_decisions(path: Path, pair_ids: Collection[str]) -> tuple[list[Decision], list[Problem]]:
    """Read a decisions file, whoever wrote it; a missing file is an empty one.

    Returns:
        Every readable decision in order, and one Problem with file and line for each line that is none, and for
        each decision about a pair that is not in `pair_ids`. The latter is among the decisions too: an undo may
        name it, and the pair may come back with the next synthesis.
    """
    decisions: list[Decision] = []
    problems: list[Problem] = []
    if not path.exists():
        return decisions, problems
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = f"{path.name}, line {number}"
            try:
                decisions.append(_decision(line, where))
            except ValueError as error:
                problems.append(Problem("04_curate", where, str(error)))
                continue
            stale = decisions[-1].pair_id
            if stale not in pair_ids and decisions[-1].action != "undo":
                reason = f"{where}: stale, pair {stale!r:.60} is gone or was worded anew; the line is kept and not used"
                problems.append(Problem("04_curate", where, reason))
    return decisions, problems


def _decision(line: bytes, where: str) -> Decision:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}: not a line of JSON: {error}") from error
    missing = [name for name in ("pair_id", "action") if isinstance(row, dict) and name not in row]
    if missing:
        raise ValueError(f"{where}: missing field {missing[0]!r}")
    decision = to_record(Decision, row, where)
    for name, value in asdict(decision).items():
        if not isinstance(value, str):
            raise ValueError(f"{where}: field {name!r}: expected text, got {value!r:.60}")
    if complaint := _complaint(decision):
        raise ValueError(f"{where}: {complaint}")
    return decision


def _complaint(decision: Decision) -> str:
    """What makes a decision unusable, "" when nothing does."""
    if decision.action not in ACTIONS:
        return f"unknown action {decision.action!r:.60}, expected one of {', '.join(ACTIONS)}"
    if decision.action == "edit" and not (decision.question.strip() and decision.answer.strip()):
        return "an edit needs a question and an answer"
    if decision.action == "note" and not decision.note.strip():
        return "a note needs a text"
    return ""


class Curation:
    """The state of reviewing one run's pairs, and the way to change it; every change is on the disk before it shows.

    Args:
        folder: the run folder; decisions are appended to its decisions.jsonl.
        pairs: the pairs under review, with distinct ids.
        flags: what the checks found.
        reviewer: name written into each decision; undo only takes back this reviewer's decisions.
    """

    def __init__(self, folder: Path, pairs: Sequence[QAPair], flags: Sequence[Flag], reviewer: str = ""):
        self.path = folder / "decisions.jsonl"
        self.pairs = {pair.id: pair for pair in pairs}
        self.all_flags = tuple(flags)
        self.flags: dict[str, list[Flag]] = defaultdict(list)
        for flag in flags:
            self.flags[flag.pair_id].append(flag)
        self.reviewer = reviewer
        self.decisions, self.problems = read_decisions(self.path, self.pairs)
        self._decided = fold(self.decisions)
        self._lock = threading.RLock()  # widget callbacks may run on another thread than the notebook's cells

    def decide(
        self, pair_id: str, action: str, question: str = "", reasoning: str = "", answer: str = "", note: str = ""
    ) -> Decision:
        """Append one decision: keep, drop, edit (with the whole new wording) or note.

        Raises:
            ValueError: unknown pair or action, an edit without question or answer, a note without text.
            OSError: if the decision cannot be written; the state is then unchanged.
        """
        if pair_id not in self.pairs:
            raise ValueError(f"no pair with id {pair_id!r}")
        if action == "undo":
            raise ValueError("use undo() to take back the last decision")
        return self._append(Decision(pair_id, action, question, reasoning, answer, note, self.reviewer))

    def undo(self) -> Decision | None:
        """Take back this reviewer's last standing keep, edit or drop and return it; None when there is none."""
        with self._lock:
            own = [event for event in self.history() if event.reviewer == self.reviewer and event.action != "note"]
            if own:
                self._append(Decision(own[-1].pair_id, "undo", reviewer=self.reviewer))
            return own[-1] if own else None

    def _append(self, decision: Decision) -> Decision:
        if complaint := _complaint(decision):
            raise ValueError(complaint)
        with self._lock:
            decision = replace(decision, at=datetime.now(UTC).isoformat(timespec="seconds"))
            append_record(self.path, decision)
            self.decisions.append(decision)
            self._decided = fold(self.decisions)
        return decision

    def state(self, pair_id: str) -> str:
        """What was decided about a pair: "keep", "edit", "drop" or "undecided"."""
        return self._decided[pair_id].action if pair_id in self._decided else "undecided"

    def pair(self, pair_id: str) -> QAPair:
        """The pair as it stands, a person's edit applied."""
        return worded(self.pairs[pair_id], self._decided.get(pair_id))

    def history(self) -> list[Decision]:
        """Standing decisions and notes about pairs that are still here, oldest first."""
        with self._lock:
            return [event for event in standing(self.decisions) if event.pair_id in self.pairs]

    def queue(self, view: str = "undecided") -> list[str]:
        """Ids of the pairs of one view: undecided (flagged ones first), flagged, all, local or global.

        Raises:
            ValueError: if there is no such view.
        """
        if view not in VIEWS:
            raise ValueError(f"unknown view {view!r}, expected one of {', '.join(VIEWS)}")
        if view == "undecided":
            undecided = [pair_id for pair_id in self.pairs if pair_id not in self._decided]
            return sorted(undecided, key=lambda pair_id: pair_id not in self.flags)
        if view == "flagged":
            return [pair_id for pair_id in self.pairs if pair_id in self.flags]
        return [pair.id for pair in self.pairs.values() if view in ("all", pair.scope)]

    def current(self) -> str | None:
        """Where to go on: the first undecided pair, None when all are decided."""
        return next(iter(self.queue()), None)

    def counts(self) -> dict[str, int]:
        """Number of pairs in all, decided, undecided, per decision, flagged, blocked, and used as things stand."""
        states = Counter(self.state(pair_id) for pair_id in self.pairs)
        return {
            "pairs": len(self.pairs),
            "decided": len(self.pairs) - states["undecided"],
            **{name: states[name] for name in ("undecided", "keep", "edit", "drop")},
            "flagged": sum(pair_id in self.flags for pair_id in self.pairs),
            "blocked": len({flag.pair_id for flag in self.all_flags if flag.blocks} & set(self.pairs)),
            "kept": len(self.kept()),
        }

    def kept(self) -> list[QAPair]:
        """The pairs to train on as things stand; see `kept_pairs`."""
        return kept_pairs(list(self.pairs.values()), self.all_flags, self.decisions)
