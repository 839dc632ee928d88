import json
import os
import signal
import subprocess
import sys

import pytest
import tiny

from ragtune_lib.graph.edits import GraphEdits, correct, corrections, read_graph_edits
from ragtune_lib.records import Community, Entity, GraphEdit, Relationship

ENTITIES = [Entity(one, one.upper(), "name", "", (), ("c",)) for one in "abc"]
LINKS = [Relationship(f"{a}{b}", a, b, 1.0, "", (), ("c",)) for a, b in ("ab", "ac", "bc")]
GROUPS = [Community("k", 0, "", ("a", "b", "c"), "All", "A report.", ()), Community("l", 1, "k", ("b",), "B", "", ())]


@pytest.fixture
def edits(tmp_path):
    return GraphEdits(tmp_path)


def corrected(edits):
    return correct(ENTITIES, LINKS, GROUPS, edits.events)


def test_a_correction_is_on_the_disk_and_is_replayed(edits, tmp_path):
    edits.rename(ENTITIES[0], "  Anna\n Berg ")
    edits.retype(ENTITIES[0], "person")
    edits.unlink(LINKS[2], ("B", "C"))
    again = GraphEdits(tmp_path)
    found = corrected(again)
    assert [(one.id, one.name, one.kind) for one in found.entities] == [
        ("a", "Anna Berg", "person"), ("b", "B", "name"), ("c", "C", "name")
    ]  # fmt: skip
    assert [link.id for link in found.relationships] == ["ab", "ac"]
    assert found.communities == GROUPS
    rows = [json.loads(line) for line in again.path.read_text().splitlines()]
    assert [(row["about"], row["action"], row["name"]) for row in rows] == [
        ("a", "rename", "A"), ("a", "retype", "A"), ("bc", "unlink", "B \u2013 C")
    ]  # fmt: skip
    assert all(row["at"] for row in rows)


def test_a_deleted_entity_goes_with_its_links_and_its_empty_community(edits):
    edits.delete(ENTITIES[1])
    found = corrected(edits)
    assert [one.id for one in found.entities] == ["a", "c"]
    assert [link.id for link in found.relationships] == ["ac"]
    assert [(one.id, one.entity_ids) for one in found.communities] == [("k", ("a", "c"))]
    assert found.problems == []


def test_undoing_everything_brings_the_old_graph_back(edits):
    edits.rename(ENTITIES[0], "X")
    edits.rename(ENTITIES[0], "Y")
    edits.delete(ENTITIES[2])
    edits.unlink(LINKS[0], ("A", "B"))
    assert corrected(edits).entities[0].name == "Y"
    assert [edits.undo().action for _ in range(3)] == ["unlink", "delete", "rename"]
    assert corrected(edits).entities[0].name == "X"
    assert edits.undo().value == "X"
    assert edits.undo() is None
    found = corrected(edits)
    assert (found.entities, found.relationships, found.communities) == (ENTITIES, LINKS, GROUPS)
    assert len(edits.path.read_text().splitlines()) == 8


def test_nobody_takes_back_what_another_reviewer_did(edits, tmp_path):
    GraphEdits(tmp_path, "you").delete(ENTITIES[0])
    me = GraphEdits(tmp_path, "me")
    me.delete(ENTITIES[1])
    assert me.undo().about == "b"
    assert me.undo() is None
    assert corrections(me.events).deleted == {"a"}


def test_a_correction_of_what_is_gone_is_a_problem_and_nothing_else_is_lost(edits, tmp_path):
    lost = Entity("lost", "Lost", "", "", (), ("c",))
    edits.rename(lost, "Found")
    edits.unlink(Relationship("lost-link", "a", "b", 1.0, "", (), ("c",)), ("A", "B"))
    edits.rename(ENTITIES[0], "Anna")
    edits.delete(ENTITIES[1])
    edits.unlink(LINKS[0], ("A", "B"))  # gone with b as well, and still no problem
    found = corrected(edits)
    assert [problem.item for problem in found.problems] == ["correction of Lost", "correction of A \u2013 B"]
    assert "rename to 'Found': no entity 'lost' any more" in found.problems[0].reason
    assert found.entities[0].name == "Anna"
    assert len(GraphEdits(tmp_path).events) == 5


def test_corrections_that_make_no_sense_are_refused(edits):
    for name, message in ((" \n", "needs a name"), ("A", "its name already"), ("x" * 1001, "1001 characters")):
        with pytest.raises(ValueError, match=message):
            edits.rename(ENTITIES[0], name)
    with pytest.raises(ValueError, match="its type already"):
        edits.retype(ENTITIES[0], "name")
    assert not edits.path.exists()
    assert edits.retype(ENTITIES[0], "").value == ""


def test_unreadable_lines_are_named_and_stay(edits, tmp_path):
    good = {"about": "a", "action": "rename", "value": "Anna"}
    rows = [good, {**good, "action": "burn"}, {**good, "about": 3}, {**good, "extra": ""}, {"action": "delete"}, 7]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"about":"b","acti'
    edits.path.write_text(text)
    events, problems = read_graph_edits(edits.path)
    assert events == [GraphEdit("a", "rename", "Anna")]
    assert [problem.item for problem in problems] == [f"graph_edits.jsonl, line {at}" for at in range(2, 8)]
    GraphEdits(tmp_path).delete(ENTITIES[2])
    assert edits.path.read_text().startswith(text)
    assert len(read_graph_edits(edits.path)[0]) == 2


def test_no_correction_that_was_reported_is_lost_when_the_process_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from ragtune_lib.graph.edits import GraphEdits;"
        "from ragtune_lib.records import Entity; edits = GraphEdits(Path(sys.argv[1]));\n"
        "for at in range(100_000):\n"
        "    edits.rename(Entity(f'e{at}', 'old', '', '', (), ('c',)), f'new {at}'); print(at, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        told = [int(child.stdout.readline()) for _ in range(50)]
        os.kill(child.pid, signal.SIGKILL)
        told += [int(line) for line in child.stdout if line.endswith("\n")]
    names = corrections(GraphEdits(tmp_path).events).names
    assert {f"e{at}": f"new {at}" for at in told}.items() <= names.items()


def test_corrections_of_a_real_graph_keep_what_they_do_not_name(edits):
    first = tiny.ENTITIES[0]
    edits.delete(first)
    found = correct(tiny.ENTITIES, tiny.RELATIONSHIPS, [], edits.events)
    assert found.entities == tiny.ENTITIES[1:]
    left = [link for link in tiny.RELATIONSHIPS if first.id not in (link.source, link.target)]
    assert found.relationships == left
    assert len(left) < len(tiny.RELATIONSHIPS)
