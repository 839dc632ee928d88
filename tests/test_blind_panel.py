import pytest

from ragtune_lib.judges.agreement import BlindJudging, choose_pairs
from ragtune_lib.judges.blind_panel import JudgePanel
from ragtune_lib.records import Answer, Question

HOSTILE = "<script>alert(1)</script>"
SYSTEMS = ("rag_tuned", "vanilla_rag")
QUESTIONS = [Question(f"q{n}", "local", f"Question {n}? {HOSTILE}", f"Reference. {HOSTILE}", (), ()) for n in range(3)]
ANSWERS = [
    Answer(q.id, s, f"{text} {q.id} {HOSTILE}", (), 1, 1, 0.1)
    for q in QUESTIONS
    for s, text in zip(SYSTEMS, ("one", "two"), strict=True)
]
CHOSEN = choose_pairs(QUESTIONS, ANSWERS, [SYSTEMS])
IDS = [pair.id for pair in CHOSEN]


@pytest.fixture
def panel(tmp_path):
    return JudgePanel(BlindJudging(tmp_path, CHOSEN))


def press(panel, *names):
    for name in names:
        panel.buttons[name].click()


def test_each_click_judges_the_shown_pair_and_goes_on(panel):
    assert panel.pair_id == IDS[0]
    assert panel.card.value.index(CHOSEN[0].first[:6]) < panel.card.value.index(CHOSEN[0].second[:6])
    press(panel, "first", "tie")
    assert panel.judging.choices() == {IDS[0]: "first", IDS[1]: "tie"}
    assert panel.pair_id == IDS[2]
    press(panel, "second")
    assert "3 of 3 pairs judged" in panel.status.value
    assert "Every pair is judged" in panel.card.value
    assert [verdict.winner for verdict in panel.judging.verdicts()] == [
        "b" if CHOSEN[0].swapped else "a", "tie", "a" if CHOSEN[2].swapped else "b",
    ]  # fmt: skip


def test_a_new_panel_goes_on_where_the_last_one_stopped(panel, tmp_path):
    press(panel, "first")
    again = JudgePanel(BlindJudging(tmp_path, CHOSEN))
    assert again.pair_id == IDS[1]
    press(again, "undo")
    assert (again.judging.choices(), again.pair_id) == ({}, IDS[0])


def test_a_verdict_can_be_looked_at_and_changed(panel):
    press(panel, "first", "previous")
    assert panel.pair_id == IDS[0]
    assert "You said: first." in panel.status.value
    assert panel.card.value.count("#009E73") == 1
    press(panel, "second")
    assert panel.judging.choices() == {IDS[0]: "second"}
    assert panel.pair_id == IDS[1]
    press(panel, "previous", "previous", "previous")
    assert panel.pair_id == IDS[0]
    press(panel, "next", "next", "next", "next")
    assert panel.pair_id == IDS[2]


def test_a_skipped_pair_comes_back(panel):
    press(panel, "next", "tie", "tie")
    assert panel.pair_id == IDS[0]
    press(panel, "tie", "previous")
    assert panel.pair_id == IDS[2]


def test_no_name_of_a_system_is_anywhere_in_the_panel(panel):
    for name in ("first", "tie", "second", "undo"):
        seen = panel.card.value + panel.status.value + str(panel._repr_mimebundle_())
        assert not [system for system in (*SYSTEMS, "VanillaRAG", "RAG-tuned") if system in seen]
        press(panel, name)


def test_hostile_text_is_inert_wherever_it_is_shown(panel):
    assert panel.card.value.count("&lt;script") == 4  # question, reference, both answers
    assert "<script" not in panel.card.value + panel.status.value
    panel.pair_id = HOSTILE
    press(panel, "tie")
    assert "&lt;script" in panel.message.value and "<script" not in panel.message.value


def test_the_reference_can_be_hidden(tmp_path):
    panel = JudgePanel(BlindJudging(tmp_path, CHOSEN), reference=False)
    assert "Reference" not in panel.card.value


def test_an_error_in_a_click_is_shown_and_the_next_click_works(panel):
    press(panel, "undo")
    assert "nothing to undo" in panel.message.value
    panel.judging.path.mkdir()
    press(panel, "first")
    assert "IsADirectoryError" in panel.message.value
    assert (panel.judging.choices(), panel.pair_id) == ({}, IDS[0])
    panel.judging.path.rmdir()
    press(panel, "first")
    assert (panel.message.value, panel.pair_id) == ("", IDS[1])


def test_nothing_to_judge_is_an_empty_panel(tmp_path):
    panel = JudgePanel(BlindJudging(tmp_path, []))
    press(panel, "previous", "next")
    assert panel.summary() == "0 of 0 pairs judged"
    press(panel, "tie")
    assert "no pair is shown" in panel.message.value


def test_where_no_widget_lives_a_line_shows_the_state(panel):
    press(panel, "tie")
    bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert (bundle["text/plain"], bundle["text/html"]) == ("1 of 3 pairs judged", "<p>1 of 3 pairs judged</p>")


def test_lines_that_were_not_used_are_announced(tmp_path):
    (tmp_path / "human_verdicts.jsonl").write_text("{\n")
    assert "1 lines of human_verdicts.jsonl not used" in JudgePanel(BlindJudging(tmp_path, CHOSEN)).status.value
