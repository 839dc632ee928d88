import pytest

from ragtune_lib.curate import Curation
from ragtune_lib.panel import CurationPanel
from ragtune_lib.records import Chunk, Flag, QAPair

HOSTILE = "<script>alert(1)</script>"
CHUNKS = [Chunk("c1", "d1", 0, 10, f"Ilse sold jam. {HOSTILE}", "2025-01-06")]


def pair(id, scope="local", text=""):
    return QAPair(
        id, scope, "entity", f"question {id}{text}?", "Ilse sold jam.", f"answer {id}", ("c1",), "template", "f1"
    )


PAIRS = [pair("a"), pair("b", "global", HOSTILE), pair("c")]
FLAGS = [Flag("c", "quote", f"not in the evidence: {HOSTILE}", True)]


@pytest.fixture
def panel(tmp_path):
    return CurationPanel(Curation(tmp_path, PAIRS, FLAGS), CHUNKS)


def states(panel):
    return [panel.curation.state(one.id) for one in PAIRS]


def shown(panel):
    return panel.areas["question"].value


def press(panel, *names):
    for name in names:
        panel.buttons[name].click()


def test_the_flagged_pair_is_shown_first_with_its_wording(panel):
    assert {name: area.value for name, area in panel.areas.items()} == {
        "question": "question c?", "reasoning": "Ilse sold jam.", "answer": "answer c", "note": "",
    }  # fmt: skip


def test_each_click_decides_the_shown_pair_and_goes_on(panel):
    press(panel, "drop")
    assert (states(panel), shown(panel)) == (["undecided", "undecided", "drop"], "question a?")
    press(panel, "keep", "keep")
    assert states(panel) == ["keep", "keep", "drop"]
    assert "3 of 3 decided (2 keep, 0 edit, 1 drop)" in panel.status.value
    assert "No pair is left" in panel.card.value
    assert all(area.disabled for area in panel.areas.values())


def test_a_new_panel_goes_on_where_the_last_one_stopped(panel, tmp_path):
    press(panel, "drop", "keep")
    again = CurationPanel(Curation(tmp_path, PAIRS, FLAGS), CHUNKS)
    assert (states(again), again.pair_id) == (["keep", "undecided", "drop"], "b")
    press(again, "undo")
    assert (states(again), again.pair_id) == (["undecided", "undecided", "drop"], "a")


def test_an_edit_is_saved_with_the_typed_wording(panel):
    panel.areas["answer"].value = "Plum jam."
    press(panel, "edit")
    assert (panel.curation.pair("c").answer, panel.curation.pair("c").question) == ("Plum jam.", "question c?")


def test_keep_after_typing_keeps_what_is_shown(panel):
    panel.areas["answer"].value = "Plum jam."
    press(panel, "keep")
    assert (panel.curation.state("c"), panel.curation.pair("c").answer) == ("edit", "Plum jam.")


def test_an_unsaved_wording_is_still_there_after_moving_away_and_back(panel):
    panel.areas["answer"].value = "half a senten"
    press(panel, "next")
    assert panel.areas["answer"].value == "answer a"
    press(panel, "previous")
    assert panel.areas["answer"].value == "half a senten"
    assert states(panel) == ["undecided"] * 3


def test_a_saved_wording_replaces_the_draft_and_a_restored_one_removes_it(panel):
    panel.filter.value = "all"
    panel.areas["answer"].value = "half a senten"
    press(panel, "next", "previous")
    panel.areas["answer"].value = "half a sentence"
    press(panel, "edit", "previous")
    assert (panel.pair_id, panel.areas["answer"].value) == ("a", "half a sentence")
    panel.areas["answer"].value = "another draft"
    press(panel, "next", "previous")
    panel.areas["answer"].value = "half a sentence"
    press(panel, "next", "previous")
    assert panel.areas["answer"].value == "half a sentence"


def test_previous_and_next_stop_at_the_ends_of_the_list(panel):
    panel.filter.value = "all"
    press(panel, "previous", "previous")
    assert shown(panel) == "question a?"
    press(panel, "next", "next", "next")
    assert shown(panel) == "question c?"


@pytest.mark.parametrize(
    ("view", "ids"), [("flagged", ["c"]), ("local", ["a", "c"]), ("global", ["b"]), ("all", ["a", "b", "c"])]
)
def test_the_filter_chooses_the_list(panel, view, ids):
    panel.filter.value = view
    visited = [panel.pair_id]
    for _ in PAIRS[1:]:
        press(panel, "next")
        visited.append(panel.pair_id)
    assert sorted(set(visited)) == ids


def test_a_note_is_written_and_the_pair_stays(panel):
    panel.areas["note"].value = "check the jar"
    press(panel, "note")
    assert (panel.curation.decisions[-1].note, panel.pair_id, panel.areas["note"].value) == ("check the jar", "c", "")
    assert states(panel) == ["undecided"] * 3
    assert "check the jar" in panel.latest.value


def test_an_error_in_a_click_is_shown_and_the_next_click_works(panel, tmp_path):
    press(panel, "note")
    assert "a note needs a text" in panel.message.value
    press(panel, "undo")
    assert "nothing to undo" in panel.message.value
    (tmp_path / "decisions.jsonl").mkdir()
    press(panel, "drop")
    assert "IsADirectoryError" in panel.message.value
    assert (states(panel)[2], shown(panel)) == ("undecided", "question c?")
    (tmp_path / "decisions.jsonl").rmdir()
    press(panel, "drop")
    assert (states(panel)[2], panel.message.value) == ("drop", "")


def test_an_error_text_is_escaped(panel):
    panel.pair_id = HOSTILE
    press(panel, "drop")
    assert "&lt;script" in panel.message.value
    assert "<script" not in panel.message.value


def test_hostile_text_is_inert_wherever_it_is_shown(panel):
    for name in ("drop", "keep", "drop"):  # a decided hostile question is then in the list of latest decisions
        assert "<script" not in panel.card.value + panel.status.value + panel.latest.value
        press(panel, name)
    assert "&lt;script" in panel.latest.value
    assert "<script" not in panel.latest.value + panel.table()


def test_where_no_widget_lives_a_table_shows_the_state(panel):
    press(panel, "drop")
    bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "1 of 3 decided (0 keep, 0 edit, 1 drop); 1 blocked by checks"
    assert "<td>drop</td><td>local</td><td>question c?</td><td>answer c</td><td>quote</td>" in bundle["text/html"]
    assert bundle["text/html"].count("<tr>") == 4
    assert panel.table(rows=1).count("<tr>") == 2


def test_a_run_without_pairs_gives_an_empty_panel(tmp_path):
    empty = CurationPanel(Curation(tmp_path, [], []), [])
    press(empty, "keep", "next")
    assert empty.curation.decisions == []
    assert "0 of 0 decided" in empty.summary()


def test_lines_of_the_decisions_file_that_were_not_used_are_announced(tmp_path):
    (tmp_path / "decisions.jsonl").write_text("{\n")
    assert "1 lines of decisions.jsonl not used" in CurationPanel(Curation(tmp_path, PAIRS, FLAGS), CHUNKS).summary()
