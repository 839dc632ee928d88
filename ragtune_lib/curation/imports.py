"""Decisions made elsewhere: a CSV file, an Argilla export, a Label Studio export, as events of one named person.

An item is a row, a record or a task. Each becomes a decision or a problem; the decisions of one call are one step, so
one undo takes them back. What this person's file says already is not written again, so importing twice adds nothing,
and an export that has grown adds what is new.

A pair is named by its id: the column `pair_id` (or `id`) of a CSV file, `metadata.pair_id` or `id` of an Argilla
record, `data.pair_id` or `data.id` of a Label Studio task. An export that shows another question than the pair has
now is about a pair that has changed, and a problem. Exports are to hold one answer per item: export each person by
themselves.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ragtune_lib.curate import Curation
from ragtune_lib.curation.events import DECIDING, OPEN, STAGE, complaint_about
from ragtune_lib.records import Decision, Problem

ACTION_NAMES = ("action", "decision", "label", "status")  # of a column, or of a question to the person
NOTE_NAMES = ("note", "reason", "comment")
WORDING = ("question", "reasoning", "answer")
SAME = {
    "accept": "keep", "accepted": "keep", "approve": "keep", "approved": "keep", "yes": "keep", "good": "keep",
    "reject": "drop", "rejected": "drop", "no": "drop", "bad": "drop", "edited": "edit", "correct": "edit",
    "ignore": "skip", "skipped": "skip", "discarded": "skip", "flagged": "flag", "kept": "keep", "dropped": "drop",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the items of one file: items = decisions + problems."""

    decisions: tuple[Decision, ...]
    problems: tuple[Problem, ...]
    added: int  # decisions that were not there already


@dataclass(frozen=True, slots=True)
class Item:
    """One item as all formats have it."""

    pair_id: str
    said: Mapping[str, str]  # what the person filled in, by name
    shown: str = ""  # the question as the person saw it, where the export tells
    at: str = ""  # ISO time


def import_csv(curation: Curation, path: Path) -> Imported:
    """Decisions from a CSV file with a header: pair_id, action, and question, reasoning, answer, note, at if wanted.

    The separator is a comma, semicolon or tab, as in the header. In an edit, an empty cell leaves that part as it is.

    Args:
        curation: opened by the person whose decisions they are, under a name.
        path: the file, UTF-8.

    Raises:
        ValueError: if the curation has no reviewer, or the file has no such columns or is no UTF-8.
    """
    with _text(path) as stream:
        head = stream.readline()
        stream.seek(0)
        separator = max(",;\t", key=head.count)
        table = csv.DictReader(stream, delimiter=separator)
        names = {name.strip().lower() for name in table.fieldnames or ()}
        if not names & {"pair_id", "id"} or not names & set(ACTION_NAMES):
            raise ValueError(
                f"{path.name}: the first line must name the columns pair_id and action, got {head.strip()!r:.80}"
            )
        return _imported(curation, path, ((f"line {table.line_num}", row) for row in table), _of_row)


def _of_row(row: Mapping[Any, Any]) -> Item:
    if None in row or None in row.values():
        raise ValueError("another number of cells than in the first line")
    cells = {name.strip().lower(): value.strip() for name, value in row.items()}
    return Item(cells.get("pair_id") or cells.get("id", ""), cells, at=cells.get("at", ""))


def import_argilla(curation: Curation, path: Path) -> Imported:
    """Decisions from an Argilla export (`dataset.records.to_json`, or one record per line), of version 1 or 2.

    Questions to the person are read by their names: action, decision, label or status; question, reasoning, answer;
    note, reason or comment. A discarded response is a skip, a draft a problem. Arguments and errors as in
    `import_csv`.
    """
    return _imported(curation, path, _json_items(path, "record"), _of_record)


def _of_record(record: Mapping[str, Any]) -> Item:
    fields, metadata = record.get("fields") or {}, record.get("metadata") or {}
    responses, status, at = record.get("responses") or {}, "submitted", str(record.get("updated_at") or "")
    if isinstance(responses, list):  # version 1: one object per person
        _only_one(len(responses))
        at = str(responses[0].get("updated_at") or responses[0].get("inserted_at") or at)
        status = str(responses[0].get("status") or status)
        said = {name: answer.get("value") for name, answer in (responses[0].get("values") or {}).items()}
    else:  # version 2: one list per question, with the value of each person
        people = {str(one.get("user_id")) for values in responses.values() for one in values}
        _only_one(len(people))
        status = next(
            (str(one["status"]) for values in responses.values() for one in values if one.get("status")), status
        )
        said = {name: values[-1].get("value") for name, values in responses.items() if values}
    if status == "draft":
        raise ValueError("a draft, not submitted")
    if status == "discarded":
        said["action"] = "skip"
    pair_id = str(metadata.get("pair_id") or record.get("id") or record.get("external_id") or "")
    return Item(pair_id, {name: _plain(value) for name, value in said.items()}, _plain(fields.get("question", "")), at)


def import_label_studio(curation: Curation, path: Path) -> Imported:
    """Decisions from a Label Studio export in its JSON format; a cancelled annotation is a skip.

    Controls are read by their names (`from_name`), which are those of `import_argilla`. Arguments and errors as there.
    """
    return _imported(curation, path, _json_items(path, "task"), _of_task)


def _of_task(task: Mapping[str, Any]) -> Item:
    data, annotations = task.get("data") or {}, task.get("annotations") or []
    _only_one(len(annotations))
    said: dict[str, str] = {}
    for result in annotations[0].get("result") or ():
        value = result.get("value") or {}
        said[str(result.get("from_name"))] = _plain(value.get("choices") or value.get("text") or "")
    if annotations[0].get("was_cancelled"):
        said = {"action": "skip"}
    at = str(annotations[0].get("updated_at") or annotations[0].get("created_at") or "")
    return Item(str(data.get("pair_id") or data.get("id") or ""), said, _plain(data.get("question", "")), at)


def _only_one(people: int) -> None:
    if people != 1:
        raise ValueError("not answered" if not people else f"{people} answers; export each person by themselves")


def _plain(value: Any) -> str:
    """The text of an answer: a string, or the first of a list."""
    if isinstance(value, list):
        value = value[0] if value else ""
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


def _text(path: Path) -> Any:
    return path.open(encoding="utf-8-sig", newline="")


def _json_items(path: Path, what: str) -> Iterator[tuple[str, Any]]:
    """The items of a JSON list or of JSON Lines, each with where it stands; a line that is no JSON comes as it is."""
    with _text(path) as stream:
        text = stream.read()
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    yield f"line {number}", json.loads(line)
                except json.JSONDecodeError as error:
                    yield f"line {number}", error
        return
    yield from (
        (f"{what} {number}", item) for number, item in enumerate(whole if isinstance(whole, list) else [whole], 1)
    )


def _imported(
    curation: Curation, path: Path, items: Iterable[tuple[str, Any]], read: Callable[[Any], Item]
) -> Imported:
    if not curation.reviewer:
        raise ValueError("imported decisions need a name: open the curation with a reviewer")
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    decisions: list[Decision] = []
    problems: list[Problem] = []
    try:
        for where, item in items:
            try:
                if not isinstance(item, dict):
                    raise ValueError(
                        str(item) if isinstance(item, ValueError) else f"expected an object, got {item!r:.60}"
                    )
                decisions.append(_decision(curation, read(item), now))
            except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:  # any shape may come
                problems.append(Problem(STAGE, f"{path.name}, {where}", f"{path.name}, {where}: {error}"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    known = {_said(event) for event in curation.events.standing() if event.reviewer == curation.reviewer}
    new = [one for one in decisions if _said(one) not in known]
    return Imported(tuple(decisions), tuple(problems), len(curation.record(new)))


def _said(event: Decision) -> tuple[str, ...]:
    return (event.pair_id, event.action, event.question, event.reasoning, event.answer, event.note)


def _decision(curation: Curation, item: Item, now: str) -> Decision:
    """The event of an item; ValueError says what is wrong with one that gives none."""
    if item.pair_id not in curation.pairs:
        raise ValueError(f"pair {item.pair_id!r:.60} is not in this run" if item.pair_id else "no pair id")
    pair = curation.original(item.pair_id)
    if item.shown and item.shown != pair.question.strip():
        raise ValueError(f"pair {item.pair_id} has another question now; it was decided as {item.shown!r:.60}")
    asked = next((item.said[name] for name in ACTION_NAMES if item.said.get(name)), "").lower()
    action = SAME.get(asked, asked)
    if action not in (*DECIDING, *OPEN, "note"):
        raise ValueError(f"unknown action {asked!r:.60}, expected keep, drop, edit, flag, skip or note")
    note = next((item.said[name] for name in NOTE_NAMES if item.said.get(name)), "")
    event = Decision(item.pair_id, action, note=note, reviewer=curation.reviewer, at=min(_utc(item.at) or now, now))
    if action == "edit":
        wording = {name: item.said.get(name) or getattr(pair, name) for name in WORDING}
        if all(wording[name] == getattr(pair, name).strip() for name in WORDING):
            raise ValueError("an edit that changes nothing; say keep")
        event = replace(event, **wording)
    if complaint := complaint_about(event):
        raise ValueError(complaint)
    return event


def _utc(text: str) -> str:
    """A time in the form of our files; "" for none and for what is no time."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return ""
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time.astimezone(UTC).isoformat(timespec="microseconds")
