import json
from dataclasses import replace

import pytest

from ragtune_lib.curate import Curation
from ragtune_lib.curation.neighbourhood import Neighbourhoods
from ragtune_lib.panel import CurationPanel
from ragtune_lib.panel_style import ABOUT_CARD, BUTTONS, KEYS, MEANINGS, REASONS
from ragtune_lib.records import Chunk, Community, Document, Entity, Flag, QAPair, Relationship
from ragtune_lib.store import write_records

HOSTILE = "<script>alert(1)</script>"
CHUNKS = [Chunk("c1", "d1", 0, 10, f"Ilse sold jam. {HOSTILE}", "2025-01-06")]


def pair(id, scope="local", text=""):
    return QAPair(
        id, scope, "entity", f"question {id}{text}?", "Ilse sold jam.", f"answer {id}", ("c1",), "template", "f1"
    )


PAIRS = [pair("a"), pair("b", "global", HOSTILE), pair("c")]
FLAGS = [Flag("c", "quote", f"not in the evidence: {HOSTILE}", True)]


def made(folder, pairs=PAIRS, flags=FLAGS, reviewer="", order="worst", **options):
    return CurationPanel(Curation(folder, pairs, flags, reviewer, chunks=CHUNKS), CHUNKS, order=order, **options)


@pytest.fixture
def panel(tmp_path):
    return made(tmp_path)


def states(panel):
    return [panel.curation.state(one.id) for one in PAIRS]


def click(panel, *names):
    for name in names:
        panel.buttons[name].click()


def strike(panel, *names, card=None, fields=()):
    """What the browser sends when a key goes down."""
    for name in names:
        seen = panel.catcher.card if card is None else card
        panel.catcher._handle_custom_msg({"name": name, "card": seen, "fields": dict(fields)}, [])


def jump(panel, pair_id):
    panel.go_to.value = pair_id


def write(panel, **texts):
    click(panel, "edit")
    for name, text in texts.items():
        panel.editor.areas[name].value = text


@pytest.fixture(params=[click, strike], ids=["buttons", "keys"])
def act(request):
    return request.param


def test_the_flagged_pair_is_shown_first_with_its_wording_its_source_and_its_flag(panel):
    assert panel.pair_id == "c"
    for text in ("question c?", "Ilse sold jam.", "answer c", "quote: not in the evidence"):
        assert text in panel.card.value
    assert "6 January 2025" in panel.source.value


def test_buttons_and_keys_decide_the_shown_pair_and_go_on(panel, act):
    act(panel, "drop")
    assert (states(panel), panel.pair_id) == (["undecided", "undecided", "drop"], "a")
    act(panel, "keep", "keep")
    assert states(panel) == ["keep", "keep", "drop"]
    assert "3 of 3 decided (2 keep, 0 edit, 1 drop)" in panel.status.value
    assert "No pair is left" in panel.card.value
    act(panel, "keep")
    assert "no pair is shown" in panel.message.value


def test_every_key_names_something_that_the_panel_does_and_tells(panel):
    assert set(KEYS.values()) <= set(panel.actions())
    assert set(BUTTONS) <= set(panel.actions())
    assert set(KEYS.values()) >= ABOUT_CARD
    assert all(MEANINGS[name] for name in KEYS.values())
    assert panel.catcher.bindings == KEYS


def test_a_new_panel_goes_on_where_the_last_one_stopped(panel, tmp_path, act):
    act(panel, "drop", "keep")
    again = made(tmp_path)
    assert (states(again), again.pair_id) == (["keep", "undecided", "drop"], "b")
    act(again, "undo")
    assert (states(again), again.pair_id) == (["undecided", "undecided", "drop"], "a")
    act(again, "undo")
    assert (states(again), again.pair_id) == (["undecided"] * 3, "c")
    act(again, "redo", "redo")
    assert (states(again), again.pair_id) == (["keep", "undecided", "drop"], "a")


def test_an_edit_is_saved_with_the_typed_wording_and_shows_what_changed(panel):
    write(panel, answer="Plum jam.")
    assert "<ins>Plum</ins>" in panel.editor.changes.value
    click(panel, "save")
    assert (panel.curation.pair("c").answer, panel.curation.pair("c").question) == ("Plum jam.", "question c?")
    assert not panel.editor.is_open
    jump(panel, "c")
    assert "<del>" in panel.card.value


def test_a_shortcut_saves_what_the_browser_holds_even_when_it_was_not_sent_before(panel):
    strike(panel, "edit")
    strike(panel, "save", fields={"question": "q", "reasoning": "", "answer": "Plum jam."})
    assert (panel.curation.state("c"), panel.curation.pair("c").answer) == ("edit", "Plum jam.")


def test_a_click_saves_what_the_browser_holds_even_when_it_was_not_sent_before(panel):
    write(panel, answer="half a sen")
    strike(panel, "typed", fields={"answer": "half a sentence"})
    click(panel, "save")
    assert panel.curation.pair("c").answer == "half a sentence"


def test_what_the_browser_sends_late_does_not_get_into_another_pair(panel):
    write(panel, answer="Plum jam.")
    late = panel.editor.areas["answer"]
    click(panel, "save", "edit")
    late.value = "Plum jam, late"
    strike(panel, "typed", card=panel.catcher.card - 1, fields={"answer": "Plum jam, late"})
    assert panel.editor.areas["answer"].value == "answer a"


@pytest.mark.parametrize("name", sorted(ABOUT_CARD))
def test_a_key_that_came_before_the_card_was_on_the_screen_decides_nothing(panel, name):
    strike(panel, "drop")
    seen_before = panel.catcher.card - 1
    strike(panel, name, card=seen_before)
    assert (states(panel), panel.pair_id) == (["undecided", "undecided", "drop"], "a")
    assert "not used" in panel.message.value
    assert not panel.editor.is_open


def test_the_second_half_of_a_double_click_decides_nothing(panel):
    seen = panel.catcher.card
    for _ in range(2):
        strike(panel, "typed", card=seen)
        click(panel, "drop")
    assert states(panel) == ["undecided", "undecided", "drop"]
    click(panel, "drop")
    assert states(panel) == ["drop", "undecided", "drop"]


def test_keep_after_typing_keeps_what_is_shown(panel):
    write(panel, answer="Plum jam.")
    click(panel, "keep")
    assert (panel.curation.state("c"), panel.curation.pair("c").answer) == ("edit", "Plum jam.")


def test_an_edit_back_to_the_original_wording_is_a_keep(panel):
    write(panel, answer="Plum jam.")
    click(panel, "save")
    jump(panel, "c")
    click(panel, "edit", "revert", "save")
    assert (panel.curation.state("c"), panel.curation.pair("c").answer) == ("keep", "answer c")


def test_an_unsaved_wording_is_still_there_after_moving_away_and_back(panel, act):
    write(panel, answer="half a senten")
    act(panel, "next")
    assert "answer a" in panel.card.value
    act(panel, "previous")
    assert "half a senten" in panel.card.value
    assert "not saved yet" in panel.state.value
    act(panel, "edit")
    assert panel.editor.areas["answer"].value == "half a senten"
    assert states(panel) == ["undecided"] * 3
    panel.editor.areas["answer"].value = "answer c"
    act(panel, "close")
    assert "not saved yet" not in panel.state.value


def test_an_unsaved_wording_survives_a_flag_and_a_filter_and_ends_with_a_drop(panel):
    write(panel, answer="half a senten")
    click(panel, "flag")
    panel.filters.lists["scope"].value = "global"
    panel.filters.clear()
    jump(panel, "c")
    assert "half a senten" in panel.card.value
    click(panel, "drop")
    jump(panel, "c")
    assert "half a senten" not in panel.card.value


def test_nothing_is_saved_when_nothing_was_changed(panel):
    click(panel, "save")
    assert "nothing to save" in panel.message.value
    assert states(panel) == ["undecided"] * 3


def test_previous_and_next_stop_at_the_ends_of_the_list(panel, act):
    act(panel, "previous", "previous")
    assert panel.pair_id == panel.walk.ids[0]
    act(panel, "next", "next", "next", "next")
    assert panel.pair_id == panel.walk.ids[-1]


@pytest.mark.parametrize(
    ("name", "value", "ids"),
    [
        ("check", "quote", ["c"]),
        ("scope", "local", ["a", "c"]),
        ("scope", "global", ["b"]),
        ("status", "undecided", ["a", "b", "c"]),
        ("status", "drop", []),
    ],
)
def test_the_lists_choose_what_is_shown(panel, name, value, ids):
    panel.filters.lists[name].value = value
    assert sorted(panel.walk.ids) == ids
    assert panel.pair_id in (ids or [None])
    panel.filters.clear()
    assert len(panel.walk.ids) == 3


def test_the_search_finds_words_and_says_so_when_there_are_none(panel):
    panel.filters.search.value = "question b"
    assert panel.pair_id == "b"
    panel.filters.search.value = "no such words"
    assert (panel.pair_id, panel.walk.ids) == (None, [])
    assert "No pair is left" in panel.card.value


def test_a_list_of_decided_pairs_is_gone_through_to_its_end(panel):
    click(panel, "keep", "keep", "keep")
    panel.filters.lists["status"].value = "keep"
    seen = [panel.pair_id]
    for _ in range(2):
        click(panel, "drop")
        seen.append(panel.pair_id)
    assert sorted(seen) == ["a", "b", "c"]
    click(panel, "drop")
    assert panel.pair_id is None
    assert states(panel) == ["drop"] * 3


def test_a_skipped_and_a_flagged_pair_come_back_after_the_others_and_decide_nothing(panel, act):
    act(panel, "skip", "flag", "keep")
    assert states(panel)[2] == "skip"
    assert panel.pair_id == "c"
    assert "1 skipped" in panel.status.value
    act(panel, "keep")
    assert panel.curation.state(panel.pair_id) == "flag"


@pytest.mark.parametrize("number", range(1, len(REASONS) + 1))
def test_a_pair_is_dropped_with_a_common_reason_and_free_text(panel, act, number):
    panel.note.value = "see the jar"
    act(panel, f"drop_{number}")
    assert panel.curation.decision("c").note == f"{REASONS[number - 1]}: see the jar"
    assert panel.note.value == ""
    jump(panel, "c")
    assert "see the jar" in panel.state.value


def test_a_note_is_written_and_the_pair_stays(panel):
    panel.note.value = "check the jar"
    click(panel, "note")
    assert (panel.curation.decisions[-1].note, panel.pair_id, panel.note.value) == ("check the jar", "c", "")
    assert states(panel) == ["undecided"] * 3
    assert "check the jar" in panel.state.value


def test_a_note_that_was_not_added_stays_with_its_pair(panel):
    panel.note.value = "about c"
    click(panel, "next")
    assert panel.note.value == ""
    click(panel, "previous")
    assert panel.note.value == "about c"


def test_an_error_in_a_click_is_shown_and_the_next_click_works(panel, tmp_path):
    click(panel, "note")
    assert "a note needs a text" in panel.message.value
    click(panel, "undo")
    assert "nothing to undo" in panel.message.value
    (tmp_path / "decisions.jsonl").mkdir()
    click(panel, "drop")
    assert "IsADirectoryError" in panel.message.value
    assert (states(panel)[2], panel.pair_id) == ("undecided", "c")
    (tmp_path / "decisions.jsonl").rmdir()
    click(panel, "drop")
    assert (states(panel)[2], panel.message.value) == ("drop", "")


def test_a_failed_write_keeps_the_typed_wording(panel, tmp_path):
    write(panel, answer="Plum jam.")
    (tmp_path / "decisions.jsonl").mkdir()
    click(panel, "save")
    assert "IsADirectoryError" in panel.message.value
    assert panel.editor.areas["answer"].value == "Plum jam."


def test_an_error_text_is_escaped(panel):
    panel.go_to.value = HOSTILE
    assert "&lt;script" in panel.message.value
    assert "<script" not in panel.message.value


def test_a_pair_is_found_by_its_id(panel):
    panel.go_to.value = "b"
    assert (panel.pair_id, panel.go_to.value) == ("b", "")
    click(panel, "previous")
    assert panel.pair_id == panel.walk.ids[panel.walk.ids.index("b") - 1]


def test_a_pair_outside_of_the_list_can_be_decided_and_the_list_goes_on_where_it_was(panel):
    panel.filters.lists["scope"].value = "local"
    left = panel.pair_id
    jump(panel, "b")
    assert "list: 2 pairs" in panel.status.value
    click(panel, "drop")
    assert (states(panel)[1], panel.pair_id) == ("drop", left)
    jump(panel, "b")
    click(panel, "next")
    assert panel.pair_id == left


def test_line_ends_that_the_browser_makes_its_own_are_no_edit(tmp_path):
    panel = made(tmp_path, [replace(PAIRS[0], answer="plum jam\r\nand pears")], [])
    click(panel, "edit")
    strike(panel, "save", fields={"answer": "plum jam\nand pears"})
    assert "nothing to save" in panel.message.value


def everything(panel):
    texts = [panel.card, panel.source, panel.state, panel.status, panel.message, panel.editor.changes, panel.keys_shown]
    return "".join(widget.value for widget in texts) + panel.drawers["bulk"].told.value + panel.table()


def test_hostile_text_is_inert_wherever_it_is_shown(tmp_path):
    write_records(tmp_path / "documents.jsonl", [Document("d1", HOSTILE, HOSTILE, "", "")])
    write_records(tmp_path / "communities.jsonl", [Community("k", 0, "", ("e",), HOSTILE, "", ())])
    panel = made(tmp_path)
    click(panel, "history", "bulk")
    for name in ("drop", "keep", "flag"):
        panel.note.value = HOSTILE
        click(panel, name)
        write(panel, answer=HOSTILE, question=HOSTILE + "x")
        panel.drawers["bulk"].preview.click()
        assert "<script" not in everything(panel)
        assert "&lt;script" in everything(panel)
        click(panel, "close")


def test_where_no_widget_lives_a_table_shows_the_state(panel):
    bundle = panel._repr_mimebundle_()
    assert "nobody decided yet" in bundle["text/html"]
    panel.note.value = "wrong jar"
    click(panel, "drop")
    bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "1 of 3 decided (0 keep, 0 edit, 1 drop); 1 blocked by checks"
    row = "<td>drop</td><td></td><td>wrong jar</td><td>local</td><td>question c?</td><td>answer c</td><td>quote</td>"
    assert row in bundle["text/html"]
    assert "<td>drop</td><td>wrong jar</td><td>1</td>" in bundle["text/html"]
    assert bundle["text/html"].count("<tr>") == 4


def test_a_run_without_pairs_gives_an_empty_panel(tmp_path):
    empty = made(tmp_path, [], [])
    click(empty, "keep", "next", "edit", "undo", "previous")
    assert empty.curation.decisions == []
    assert "0 of 0 decided" in empty.summary()


def test_lines_of_the_decisions_file_that_were_not_used_are_announced(tmp_path):
    (tmp_path / "decisions.jsonl").write_text("{\n")
    assert "1 lines of the decisions files not used" in made(tmp_path).summary()


def test_the_history_lists_the_newest_first_and_leads_to_the_pair(panel):
    click(panel, "history")
    click(panel, "drop", "keep")
    rows = [row.description for row in panel.drawers["history"].rows if row.layout.display != "none"]
    assert rows == ["keep: question a?", "drop: question c?"]
    panel.drawers["history"].rows[1].click()
    assert panel.pair_id == "c"
    click(panel, "undo")
    assert [row.layout.display for row in panel.drawers["history"].rows][1:3] == ["none", "none"]


def test_a_decision_about_many_pairs_is_previewed_confirmed_and_undone_as_one_step(panel):
    click(panel, "keep", "bulk")
    bulk = panel.drawers["bulk"]
    assert bulk.confirm.layout.display == "none"
    bulk.action.value, bulk.note.value = "drop", "all of them"
    bulk.preview.click()
    assert "drop 2 pairs" in bulk.told.value
    assert "1 that are decided stay as they are" in bulk.told.value
    assert "question a?" in bulk.told.value
    bulk.confirm.click()
    assert states(panel) == ["drop", "drop", "keep"]
    assert panel.curation.decision("a").note == "all of them"
    click(panel, "undo")
    assert states(panel) == ["undecided", "undecided", "keep"]
    assert "2 pairs" in panel.message.value


def test_a_decision_about_many_pairs_needs_a_new_preview_when_the_list_is_another(panel):
    click(panel, "bulk")
    bulk = panel.drawers["bulk"]
    bulk.preview.click()
    panel.filters.lists["scope"].value = "global"
    assert bulk.confirm.layout.display == "none"
    bulk.confirm.click()
    assert "look at the preview first" in panel.message.value
    assert states(panel) == ["undecided"] * 3


def test_the_guidelines_are_kept_in_the_run_folder_and_never_overwrite_somebody_elses(panel, tmp_path):
    click(panel, "guidelines")
    drawer = panel.drawers["guidelines"]
    drawer.text.value = "Drop riddles."
    click(panel, "keep")
    assert drawer.text.value == "Drop riddles."
    drawer.save_button.click()
    assert (tmp_path / "guidelines.md").read_text() == "Drop riddles."
    (tmp_path / "guidelines.md").write_text("Keep riddles.")
    drawer.text.value = "Drop long riddles."
    drawer.save_button.click()
    assert "changed by somebody else" in panel.message.value
    assert (tmp_path / "guidelines.md").read_text() == "Keep riddles."
    drawer.load_button.click()
    assert drawer.text.value == "Keep riddles."


def test_the_list_of_keys_opens_and_closes(panel, act):
    act(panel, "help")
    assert "<kbd>space</kbd>" in panel.keys_shown.value
    act(panel, "close")
    assert panel.keys_shown.value == ""


def test_a_rewritten_pair_is_shown_beside_the_old_one_and_choosing_it_is_an_edit(tmp_path):
    asked = []

    def rewrite(old, reason):
        asked.append((old.id, reason))
        return replace(old, id="new", answer="Plum jam by the teacher.", writer="teacher")

    panel = made(tmp_path, rewrite=rewrite)
    click(panel, "rewrite")
    assert "say in the note" in panel.message.value
    panel.note.value = "too short"
    click(panel, "rewrite")
    assert (asked, panel.curation.state("c")) == ([("c", "too short")], "flag")
    assert "Plum jam by the teacher." in panel.source.value
    assert "answer c" in panel.card.value
    click(panel, "decline")
    assert "by the teacher" not in panel.source.value
    click(panel, "rewrite", "accept")
    assert panel.curation.pair("c").answer == "Plum jam by the teacher."
    assert panel.curation.decision("c").action == "edit"
    assert "teacher" in panel.curation.decision("c").note


def test_a_teacher_that_fails_is_reported_and_the_pair_stays(tmp_path):
    def rewrite(old, reason):
        raise RuntimeError(HOSTILE)

    panel = made(tmp_path, rewrite=rewrite)
    panel.note.value = "too short"
    click(panel, "rewrite")
    assert "RuntimeError: &lt;script" in panel.message.value
    assert panel.pair_id == "c"


def test_without_a_teacher_no_button_asks_one(panel):
    shown = [child for box in panel.children if hasattr(box, "children") for child in box.children]
    assert panel.buttons["rewrite"] not in shown
    strike(panel, "rewrite")
    assert "no teacher" in panel.message.value


def test_a_pair_that_changed_since_its_decision_can_be_confirmed(tmp_path):
    click(made(tmp_path), "keep")
    changed = [replace(one, reasoning="Ilse sold pears.") for one in PAIRS]
    panel = made(tmp_path, changed)
    assert panel.curation.state("c") == "stale"
    jump(panel, "c")
    assert panel.buttons["confirm"].layout.display == ""
    click(panel, "confirm")
    assert panel.curation.state("c") == "keep"


def test_decisions_are_on_the_disk_before_the_next_card_shows(panel, tmp_path):
    seen = []
    panel.catcher.observe(
        lambda _: seen.append(len((tmp_path / "decisions.jsonl").read_text().splitlines())), names="card"
    )
    click(panel, "keep", "drop", "skip")
    assert seen == [1, 2, 3]


def test_a_click_makes_no_list_anew(panel, monkeypatch):
    monkeypatch.setattr("ragtune_lib.panel.matching", None)
    monkeypatch.setattr("ragtune_lib.panel.ordered", None)
    lists = [box.options for box in panel.filters.lists.values()]
    click(panel, "keep", "next", "previous", "drop", "undo", "redo", "skip")
    assert panel.message.value.count("error") == 0
    assert [box.options for box in panel.filters.lists.values()] == lists
    assert len(panel.curation.decisions) == 5


def test_the_neighbourhood_of_the_entity_is_drawn_where_a_graph_is_given(tmp_path):
    entities = [Entity("e1", "Ilse", "", "", (), ("c1",)), Entity("e2", "jam", "", "", (), ("c1",))]
    links = [Relationship("r", "e1", "e2", 1.0, "", (), ())]
    assert "<svg" in made(tmp_path, around=Neighbourhoods(entities, links)).source.value


def test_the_file_of_a_named_reviewer_is_their_own(tmp_path):
    click(made(tmp_path, reviewer="ada"), "keep")
    lines = (tmp_path / "decisions-ada.jsonl").read_text().splitlines()
    assert [json.loads(line)["reviewer"] for line in lines] == ["ada"]
    panel = made(tmp_path, reviewer="ben")
    jump(panel, "c")
    assert "keep</b> by ada" in panel.state.value


def test_a_random_sample_gives_an_error_rate_with_its_interval(tmp_path):
    panel = made(tmp_path, [pair(f"p{number}") for number in range(20)], [])
    click(panel, "quality")
    quality = panel.drawers["quality"]
    quality.sample.click()
    assert panel.walk.ids == quality.drawn
    assert "0 of 20 pairs of the random sample are decided" in quality.rate.value
    click(panel, "keep", "keep", "keep", "drop")
    assert "4 of 20 pairs of the random sample are decided, 1 of these dropped or edited" in quality.rate.value
    assert "25.0% errors [4.6%, 69.9%]" in quality.rate.value
    panel.filters.clear()
    assert len(panel.walk.ids) == 20
    assert panel.walk.ids != quality.drawn


def test_people_are_compared_and_what_they_disagree_about_is_settled_by_a_named_one(tmp_path):
    for reviewer, names in (("ada", ("keep", "keep", "drop")), ("ben", ("keep", "drop", "drop"))):
        for one, name in zip(PAIRS, names, strict=True):
            Curation(tmp_path, PAIRS, FLAGS, reviewer).decide(one.id, name)
    nobody = made(tmp_path)
    nobody.drawers["quality"].settle.click()
    assert "needs a name" in nobody.message.value
    panel = made(tmp_path, reviewer="cyd")
    quality = panel.drawers["quality"]
    quality.compare.click()
    assert "ada and ben: agree on 67% of 3 pairs, Cohen&#x27;s kappa 0.40" in quality.people.value.replace(
        "'", "&#x27;"
    )
    quality.settle.click()
    assert (panel.walk.ids, panel.pair_id) == (["b"], "b")
    assert "ada: keep, ben: drop" in panel.state.value
    click(panel, "keep")
    assert panel.curation.decision("b").adjudication
    panel.filters.clear()
    jump(panel, "a")
    click(panel, "drop")
    assert not panel.curation.decision("a").adjudication
