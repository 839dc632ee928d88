import json

import pytest

from ragtune_lib.questions import read_questions
from ragtune_lib.records import Question
from ragtune_lib.store import write_records

LOCAL = {
    "id": "q1",
    "scope": "local",
    "question": "What did Ilse sell?",
    "answer": "Plum jam.",
    "facts": [["plum jam", "jam"]],
    "evidence": ["2025-01-06"],
}
UNANSWERABLE = {**LOCAL, "id": "q2", "scope": "unanswerable", "facts": [], "evidence": []}


def written(folder, *rows):
    path = folder / "questions.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_what_a_run_wrote_is_read_back_as_it_was(tmp_path):
    questions = [
        Question("q1", "global", "How did it\u2028change?", "It grew.", (("grew", "larger"), ("spring",)), ("a", "b")),
        Question("q2", "unanswerable", "Who is the mayor?", "The journal does not say.", (), ()),
    ]
    write_records(tmp_path / "questions.jsonl", questions)
    assert read_questions(tmp_path / "questions.jsonl") == questions


def test_the_sample_journal_has_a_readable_questions_file():
    from ragtune_lib.store import ROOT

    scopes = [question.scope for question in read_questions(ROOT / "data" / "journal" / "questions.jsonl")]
    assert {"local", "global", "unanswerable"} == set(scopes)


@pytest.mark.parametrize("field", LOCAL)
def test_a_missing_field_is_named_with_file_and_line(tmp_path, field):
    row = {name: value for name, value in LOCAL.items() if name != field}
    with pytest.raises(ValueError, match=f"questions.jsonl, line 3: missing field '{field}'"):
        read_questions(written(tmp_path, UNANSWERABLE, "", row))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scope": "regional"}, "line 2: field 'scope': unknown scope 'regional'"),
        ({"id": "q2"}, "line 2: field 'id': 'q2' is already used in line 1"),
        ({"question": "  "}, "line 2: field 'question': empty"),
        ({"question": 7}, "line 2: field 'question': expected text"),
        ({"facts": "plum jam"}, "line 2: field 'facts': expected lists"),
        ({"facts": ["plum jam"]}, "line 2: field 'facts': expected lists"),
        ({"facts": [[]]}, "line 2: field 'facts': expected lists"),
        ({"facts": [["plum jam", ""]]}, "line 2: field 'facts': expected lists"),
        ({"facts": []}, "line 2: field 'facts': .* at least one fact"),
        ({"scope": "unanswerable"}, "line 2: field 'facts': .* no fact"),
        ({"evidence": "2025-01-06"}, "line 2: field 'evidence': expected a list"),
        ({"facets": 1}, "line 2: unknown field 'facets'"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path, change, message):
    if change == {"scope": "unanswerable"}:
        message = "line 2: field 'facts': a question of scope 'unanswerable' has no fact"
    with pytest.raises(ValueError, match=message):
        read_questions(written(tmp_path, UNANSWERABLE, {**LOCAL, **change}))


@pytest.mark.parametrize("row", ['{"id": "q1"', "[1]", '"q1"'])
def test_a_row_that_is_no_object_is_named(tmp_path, row):
    with pytest.raises(ValueError, match=r"questions\.jsonl, line 2: "):
        read_questions(written(tmp_path, UNANSWERABLE, row))


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_bytes(json.dumps(LOCAL, ensure_ascii=False).replace("Plum", "Pfläumchen").encode("latin-1"))
    with pytest.raises(ValueError, match=r"questions\.jsonl, line 1: .*UTF-8"):
        read_questions(path)


def test_a_missing_or_an_empty_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl does not exist"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="no question in the file"):
        read_questions(written(tmp_path, ""))
