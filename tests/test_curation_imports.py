import json

import pytest

from ragtune_lib.curate import Curation
from ragtune_lib.curation.imports import import_argilla, import_csv, import_label_studio
from ragtune_lib.records import QAPair

PAIRS = [
    QAPair(f"p{n}", "local", "entity", f"question {n}?", "why", f"answer {n}", ("c1",), "template", "f")
    for n in range(8)
]
HOSTILE = '<script>alert(1)</script>\u2028"=cmd()"'


@pytest.fixture
def review(tmp_path):
    return Curation(tmp_path, PAIRS, [], "ada")


def states(folder):
    again = Curation(folder, PAIRS, [])
    return {pair_id: again.state(pair_id) for pair_id in again.pairs if again.state(pair_id) != "undecided"}


def twice(review, load, path, items, added):
    """Import a file two times; every item is a decision or a problem, and the second time nothing is added."""
    found = load(review, path)
    assert len(found.decisions) + len(found.problems) == items
    assert found.added == added
    before = review.path.read_bytes()
    for again in (review, Curation(review.folder, PAIRS, [], review.reviewer)):
        assert load(again, path).added == 0
    assert review.path.read_bytes() == before
    return found


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_of_a_csv_file_become_decisions_or_problems(review, tmp_path, separator):
    rows = [
        ("Pair_ID", "Action", "Note", "answer"),
        ("p0", "keep", "", ""), ("p1", "Reject", HOSTILE.replace(separator, " "), ""), ("p2", "edit", "", '"a ""new"" answer"'),
        ("gone", "keep", "", ""), ("p3", "love", "", ""), ("p4", "edit", "", ""), ("", "keep", "", ""), ("p5", "note", "", ""),
        ("p6", "keep"),
    ]  # fmt: skip
    path = tmp_path / "in.csv"
    path.write_text("\ufeff" + "\r\n".join(separator.join(row) for row in rows) + "\r\n")
    found = twice(review, import_csv, path, 9, 3)
    assert states(tmp_path) == {"p0": "keep", "p1": "drop", "p2": "edit"}
    assert (review.pair("p2").question, review.pair("p2").answer) == ("question 2?", 'a "new" answer')
    assert review.decision("p1").note.startswith("<script>")
    reasons = [problem.reason for problem in found.problems]
    words = (
        "'gone' is not in this run",
        "'love'",
        "changes nothing",
        "no pair id",
        "a note needs a text",
        "number of cells",
    )
    for reason, word in zip(reasons, words, strict=True):
        assert reason.startswith("in.csv, line ") and word in reason
    assert len(review.undo()) == 3
    assert states(tmp_path) == {}


def test_a_csv_file_without_the_columns_or_a_name_is_refused(tmp_path, review):
    path = tmp_path / "in.csv"
    path.write_text("question,answer\nq,a\n")
    with pytest.raises(ValueError, match="must name the columns pair_id and action"):
        import_csv(review, path)
    path.write_text("pair_id,action\np0,keep\n")
    with pytest.raises(ValueError, match="need a name"):
        import_csv(Curation(tmp_path, PAIRS, []), path)
    path.write_bytes(b"pair_id,action\np0,k\xff\n")
    with pytest.raises(ValueError, match=r"in\.csv cannot be read|codec"):
        import_csv(review, path)
    assert not review.path.exists()


def test_what_was_changed_after_an_import_stays_when_it_is_imported_again(review, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("pair_id,action\np0,drop\n")
    import_csv(review, path)
    review.decide("p0", "keep")
    path.write_text("pair_id,action\np0,drop\np1,drop\n")
    assert import_csv(review, path).added == 1
    assert states(tmp_path) == {"p0": "keep", "p1": "drop"}


def test_an_argilla_export_of_version_2_is_read(review, tmp_path):
    def record(pair_id, status="completed", **answers):
        said = {name: [{"value": value, "user_id": "u1"}] for name, value in answers.items()}
        number = int(pair_id[1:]) if pair_id[1:].isdigit() else 0
        fields = {"question": f"question {number}?"}
        return {"id": pair_id, "fields": fields, "metadata": {}, "suggestions": {}, "responses": said, "status": status}

    two = record("p4", decision="keep")
    two["responses"]["decision"].append({"value": "drop", "user_id": "u2"})
    other = record("p5", decision="keep")
    other["fields"]["question"] = "another question?"
    named = record("x", decision="drop") | {"metadata": {"pair_id": "p6"}, "fields": {}}
    records = [
        record("p0", decision="keep"), record("p1", label=["reject"], reason=HOSTILE),
        record("p2", decision="edit", answer="new"), record("p3"), two, other, named, record("gone", decision="keep"), "junk",
    ]  # fmt: skip
    path = tmp_path / "argilla.json"
    path.write_text(json.dumps(records))
    found = twice(review, import_argilla, path, 9, 4)
    assert states(tmp_path) == {"p0": "keep", "p1": "drop", "p2": "edit", "p6": "drop"}
    assert review.decision("p1").note == HOSTILE
    words = ("not answered", "2 answers", "another question now", "not in this run", "expected an object")
    for problem, word in zip(found.problems, words, strict=True):
        assert word in problem.reason


def test_an_argilla_export_of_version_1_in_lines_is_read(review, tmp_path):
    def record(pair_id, status, **answers):
        values = {name: {"value": value} for name, value in answers.items()}
        responses = [{"user_id": "u", "status": status, "values": values, "updated_at": "2025-05-05T10:00:00"}]
        return json.dumps({"external_id": pair_id, "fields": {}, "responses": responses})

    lines = [
        record("p0", "submitted", action="keep"),
        record("p1", "discarded"),
        record("p2", "draft", action="keep"),
        "{",
    ]
    path = tmp_path / "argilla.jsonl"
    path.write_text("\n".join(lines))
    twice(review, import_argilla, path, 4, 2)
    assert states(tmp_path) == {"p0": "keep", "p1": "skip"}
    assert review.decision("p0").at == "2025-05-05T10:00:00.000000+00:00"


def test_a_label_studio_export_is_read(review, tmp_path):
    def task(pair_id, *results, **more):
        made = [
            {
                "from_name": name,
                "to_name": "card",
                "type": kind,
                "value": {kind if kind == "choices" else "text": [value]},
            }
            for name, kind, value in results
        ]
        annotation = {
            "id": 1,
            "completed_by": 3,
            "result": made,
            "was_cancelled": False,
            "created_at": "2025-05-05T10:00:00Z",
        }
        return {"id": 7, "data": {"pair_id": pair_id}, "annotations": [annotation | more], "predictions": []}

    tasks = [
        task("p0", ("decision", "choices", "Accept")),
        task("p1", ("decision", "choices", "drop"), ("reason", "textarea", HOSTILE)),
        task("p2", ("decision", "choices", "edit"), ("question", "textarea", "new?")),
        task("p3", was_cancelled=True),
        task("p4") | {"annotations": []},
        task("p5", ("mood", "choices", "good")),
        task("gone", ("decision", "choices", "keep")),
    ]
    path = tmp_path / "studio.json"
    path.write_text(json.dumps(tasks))
    found = twice(review, import_label_studio, path, 7, 4)
    assert states(tmp_path) == {"p0": "keep", "p1": "drop", "p2": "edit", "p3": "skip"}
    assert (review.pair("p2").question, review.pair("p2").answer) == ("new?", "answer 2")
    words = ("not answered", "unknown action ''", "not in this run")
    for problem, word in zip(found.problems, words, strict=True):
        assert word in problem.reason
