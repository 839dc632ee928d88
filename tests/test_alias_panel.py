import pytest

from ragtune_lib.graph.alias_merge import AliasReview, read_alias_decisions
from ragtune_lib.graph.alias_panel import AliasPanel
from ragtune_lib.records import AliasPair, Entity

HOSTILE = "<script>alert(1)</script>"
ENTITIES = [Entity(one, f"Name {one} {HOSTILE}", "person", f"About {one}. {HOSTILE}", (), ("c",)) for one in "abcd"]
PAIRS = [
    AliasPair(ids, (f"Name {ids[0]}", f"Name {ids[1]}"), score, 0.9, 0.5, 0.0, (f"names alike {HOSTILE}",))
    for ids, score in ((("a", "b"), 0.9), (("b", "c"), 0.8), (("c", "d"), 0.7))
]


@pytest.fixture
def panel(tmp_path):
    return AliasPanel(AliasReview(tmp_path, ENTITIES), PAIRS, ENTITIES)


def press(panel, *names):
    for name in names:
        panel.buttons[name].click()


def on_disk(panel):
    return [(one.action, one.entity_ids) for one in read_alias_decisions(panel.review.path)[0]]


def test_both_descriptions_and_the_reasons_are_shown(panel):
    assert panel.pair == ("a", "b")
    assert all(text in panel.card.value for text in ("About a.", "About b.", "names alike", "(person)"))


def test_every_click_is_on_the_disk_and_nothing_is_merged_without_one(panel):
    assert panel.review.grouped().groups == ()
    press(panel, "reject")
    assert on_disk(panel) == [("reject", ("a", "b"))]
    press(panel, "accept")
    assert on_disk(panel)[1:] == [("accept", ("b", "c"))]
    assert panel.review.grouped().groups == (("b", "c"),)
    assert panel.pair == ("c", "d")


def test_the_pair_that_holds_up_a_merging_is_asked_next(panel):
    press(panel, "accept", "accept")
    assert panel.pair == ("a", "c")
    assert "same as a third" in panel.card.value
    press(panel, "accept")
    assert panel.review.grouped().groups == (("a", "b", "c"),)
    assert "3 pairs accepted, 0 rejected, 1 to decide; 3 entities become 1" in panel.status.value


def test_a_contradiction_is_said(panel):
    press(panel, "accept", "accept", "reject")  # a = b, b = c, but a and c are two
    assert "1 accepted pairs are not merged" in panel.status.value


def test_undo_brings_the_pair_back_and_a_new_panel_goes_on(panel, tmp_path):
    press(panel, "accept", "undo")
    assert (panel.pair, panel.review.grouped().groups) == (("a", "b"), ())
    press(panel, "reject")
    again = AliasPanel(AliasReview(tmp_path, ENTITIES), PAIRS, ENTITIES)
    assert again.pair == ("b", "c")
    assert again.decided() == {("a", "b"): "reject"}
    press(again, "undo", "undo")
    assert again.pair == ("a", "b")
    assert "nothing to undo" in again.message.value


def test_what_is_put_off_comes_back_after_all_others(panel):
    press(panel, "later")
    assert panel.pair == ("b", "c")
    press(panel, "later", "later")
    assert panel.pair == ("a", "b")
    press(panel, "reject", "reject", "reject")
    assert panel.pair is None
    assert "No pair is left" in panel.card.value
    press(panel, "accept")
    assert "no pair is shown" in panel.message.value


def test_hostile_text_is_inert_wherever_it_is_shown(panel):
    assert panel.card.value.count("&lt;script") == 5  # two names, two descriptions, a reason
    assert "<script" not in panel.card.value + panel.status.value + panel.table()


def test_where_no_widget_lives_a_table_shows_suggestions_and_decisions(panel):
    press(panel, "accept")
    html = panel._repr_mimebundle_()["text/html"]
    assert html.count("<tr>") == 4
    assert "<td>accept</td><td>0.90</td><td>Name a</td><td>Name b</td>" in html
    assert "<td>undecided</td><td>0.80</td>" in html
    assert "and 2 more" in panel.table(rows=1)


def test_a_graph_without_suggestions_gives_an_empty_panel(tmp_path):
    (tmp_path / "aliases.jsonl").write_text("{\n")
    empty = AliasPanel(AliasReview(tmp_path, []), [], [])
    assert "0 to decide; 0 entities become 0; 1 lines of aliases.jsonl not used" in empty.summary()
