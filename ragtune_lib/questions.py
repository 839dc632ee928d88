"""Held-out questions: the ones a model is measured with and never trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from ragtune_lib.records import Question, QuestionScope
from ragtune_lib.store import to_record

FIELDS = ("id", "scope", "question", "answer", "facts", "evidence")


def read_questions(path: Path) -> list[Question]:
    """Read a questions file, written by hand or by an earlier run, and refuse it when a row cannot be scored.

    JSON Lines, one object per question: `id`, `scope` (local, global, unanswerable), `question`, `answer` (the
    reference), `facts` (a list of facts, each a list of accepted wordings; none for unanswerable questions, at least
    one for the others) and `evidence` (a list of document names or chunk ids).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: at the first row that is wrong, with file, line and field, e.g.
            "questions.jsonl, line 7: missing field 'facts'"; also when the file holds no question.
    """
    if not path.is_file():
        raise FileNotFoundError(f"questions file {path} does not exist")
    questions: list[Question] = []
    seen: dict[str, int] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = f"{path.name}, line {number}"
            question = _question(line, where)
            if question.id in seen:
                raise ValueError(f"{where}: field 'id': {question.id!r} is already used in line {seen[question.id]}")
            seen[question.id] = number
            questions.append(question)
    if not questions:
        raise ValueError(f"{path.name}: no question in the file")
    return questions


def _question(line: bytes, where: str) -> Question:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}: not a line of JSON in UTF-8: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object with the fields {', '.join(FIELDS)}, got {row!r:.60}")
    for name in FIELDS:
        if name not in row:
            raise ValueError(f"{where}: missing field {name!r}")
        complaint = _complaint(name, row[name])
        if complaint:
            raise ValueError(f"{where}: field {name!r}: {complaint}")
    if bool(row["facts"]) == (row["scope"] == "unanswerable"):
        need = "no fact" if row["facts"] else "at least one fact"
        raise ValueError(f"{where}: field 'facts': a question of scope {row['scope']!r} has {need}")
    return to_record(Question, row, where)


def _complaint(name: str, value: Any) -> str:
    """What is wrong with one field, "" when nothing is."""
    if name == "facts":
        right = isinstance(value, list) and all(fact and _texts(fact) for fact in value)
        return "" if right else f"expected lists of accepted wordings, none empty, got {value!r:.60}"
    if name == "evidence":
        return "" if _texts(value) else f"expected a list of document names, got {value!r:.60}"
    if not isinstance(value, str):
        return f"expected text, got {value!r:.60}"
    if name == "scope" and value not in get_args(QuestionScope):
        return f"unknown scope {value!r}, expected one of {', '.join(get_args(QuestionScope))}"
    return "" if value.strip() or name == "answer" else "empty"


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)
