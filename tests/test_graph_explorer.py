import json
import re

import pytest
import tiny

from ragtune_lib.explore.explorer import GraphExplorer
from ragtune_lib.explore.overview import LOOSE
from ragtune_lib.explore.views import View
from ragtune_lib.graph.alias_merge import AliasReview
from ragtune_lib.graph.edits import GraphEdits, corrections
from ragtune_lib.graph_view import graph_drawing, still_view
from ragtune_lib.records import AliasPair, Community, Document, Entity, QAPair, Relationship
from ragtune_lib.store import write_records

HOSTILE = "<script>hit()</script><img src=x onerror=hit()> href"
NAMES = {entity.name: entity.id for entity in tiny.ENTITIES}
TOMAS, ILSE, WEISS = NAMES["Tomas"], NAMES["Ilse Brandt"], NAMES["Dr. Weiss"]
GROUPS = [
    Community("all", 0, "", tuple(sorted(NAMES.values())), "Everybody", "They met at the harbour.", ()),
    Community("two", 1, "all", tuple(sorted((TOMAS, ILSE))), "Two of them", "", ()),
]
DOCUMENTS = [Document(f"d{at}", f"{date}.md", date, text, date) for at, (date, text) in enumerate(tiny.DAYS.items())]


def make(folder, entities=tiny.ENTITIES, links=tiny.RELATIONSHIPS, groups=GROUPS, suggestions=(), **more):
    review = AliasReview(folder, entities)
    still = still_view(graph_drawing(entities, links, groups))
    edits = GraphEdits(folder)
    return GraphExplorer(folder, entities, links, groups, tiny.CHUNKS, DOCUMENTS, edits, still, review, suggestions)


@pytest.fixture
def explorer(tmp_path):
    return make(tmp_path)


def click(explorer, kind, one):
    explorer.canvas._handle_custom_msg({"kind": kind, "id": one}, [])


def press(explorer, *names):
    for name in names:
        explorer.buttons[name].click()


def drawn(explorer):
    return {node["id"] for node in explorer.canvas.picture["nodes"]}


def test_it_starts_with_the_communities_and_a_click_shows_the_entities_of_one(explorer):
    assert drawn(explorer) == {"all"}
    click(explorer, "node", "all")
    assert drawn(explorer) == set(NAMES.values())
    assert "They met at the harbour." in explorer.side.report.value
    assert explorer.side.tree.value == "all"
    press(explorer, "back")
    assert drawn(explorer) == {"all"}
    assert explorer.message.value == ""
    press(explorer, "back")
    assert "no place before" in explorer.message.value


def test_a_click_on_an_entity_fills_the_side_panel_and_a_double_click_goes_there(explorer):
    click(explorer, "node", "all")
    click(explorer, "node", TOMAS)
    card = explorer.side.card.value
    assert "<h3>Tomas</h3>" in card and "<mark>Tomas</mark>" in card and "level 1: Two of them" in card
    assert explorer.canvas.marked == TOMAS
    assert explorer.side.name.value == "Tomas"
    click(explorer, "open", TOMAS)
    assert explorer.view == View("near", TOMAS)
    assert explorer.caption.value.count("Tomas and what is 1 step away: 5 entities") == 1


def test_a_click_on_a_line_shows_what_both_have_in_common(explorer):
    click(explorer, "node", "all")
    edge = explorer.canvas.picture["edges"][0]
    click(explorer, "edge", edge["id"])
    assert "\u2013" in explorer.side.card.value and "<mark>" in explorer.side.card.value
    assert {option[1] for option in explorer.side.relations.options} == {edge["id"]}


def test_what_is_not_in_the_picture_cannot_be_clicked(explorer):
    for message in ({"kind": "node", "id": "ghost"}, {"kind": "node"}, {"kind": "burn", "id": TOMAS}, "x", None):
        explorer.canvas._handle_custom_msg(message, [])
    click(explorer, "open", TOMAS)  # the second half of a double click on a picture that is gone
    assert (explorer.view.kind, explorer.side.entity_id, explorer.message.value) == ("overview", "", "")


def test_search_lists_and_buttons_do_it_without_the_canvas(explorer):
    explorer.query.value = "ilse"
    assert explorer.side.entity_id == ILSE and explorer.view == View("near", ILSE)
    press(explorer, "near_2")
    assert explorer.view.steps == 2
    wanted = next(one for label, one in explorer.side.relations.options if label.startswith("Tomas"))
    explorer.side.relations.value = wanted
    press(explorer, "other_end")
    assert explorer.side.entity_id == TOMAS
    explorer.side.tree.value = "two"
    press(explorer, "open")
    assert drawn(explorer) == {TOMAS, ILSE}
    explorer.query.value = "nobody here"
    assert "no name holds &#x27;nobody here&#x27;" in explorer.message.value
    press(explorer, "best")
    assert drawn(explorer) == set(NAMES.values())


def test_filters_narrow_the_picture_and_a_wrong_date_is_named(explorer):
    press(explorer, "best")
    explorer.kind.value = "phrase"
    assert drawn(explorer) == {NAMES["harbour"], NAMES["boat"]}
    explorer.kind.value = ""
    explorer.document.value = "d3"
    assert drawn(explorer) == {TOMAS, ILSE, NAMES["boat"]}
    explorer.document.value = ""
    explorer.since.value = "tomorrow"
    assert "is no date: write it as 2025-01-31" in explorer.message.value
    explorer.since.value = "2025-12-01"
    assert drawn(explorer) == {TOMAS, ILSE, NAMES["harbour"]}
    explorer.weight.value = 99
    assert explorer.canvas.picture["edges"] == []


def test_every_correction_is_on_the_disk_shows_at_once_and_is_undone(explorer, tmp_path):
    explorer.query.value = "tomas"
    explorer.side.name.value = f"Tom {HOSTILE}"
    press(explorer, "rename")
    assert "&lt;script&gt;" in explorer.side.card.value and "<script" not in explorer.side.card.value
    assert "<mark>Tomas</mark>" in explorer.side.card.value  # as the text spells him
    explorer.side.kind.value = "person"
    press(explorer, "retype")
    explorer.side.relations.value = next(one for name, one in explorer.side.relations.options if name.startswith("Dr"))
    gone = explorer.side.relations.value
    press(explorer, "unlink")
    assert gone not in [one for _, one in explorer.side.relations.options]
    press(explorer, "delete")
    assert explorer.view.kind == "overview" and explorer.side.entity_id == ""
    found = corrections(GraphEdits(tmp_path).events)
    assert (found.names, found.kinds) == ({TOMAS: f"Tom {HOSTILE}"}, {TOMAS: "person"})
    assert (found.deleted, found.unlinked) == ({TOMAS}, {gone})
    assert "4 corrections" in explorer.status.value and explorer.side.history.value.count("<li>") == 4
    press(explorer, "undo", "undo", "undo", "undo")
    assert explorer.side.entity_id == TOMAS and explorer.side.name.value == "Tomas"
    press(explorer, "undo")
    assert "no correction to undo" in explorer.message.value
    assert len((tmp_path / "graph_edits.jsonl").read_text().splitlines()) == 8


def test_a_restarted_kernel_shows_the_corrected_graph_and_can_undo_it(explorer, tmp_path):
    explorer.query.value = "tomas"
    press(explorer, "delete")
    again = make(tmp_path)
    press(again, "best")
    assert TOMAS not in drawn(again)
    press(again, "undo")
    assert TOMAS in drawn(again)


def test_a_correction_that_cannot_be_written_changes_nothing_and_is_said(explorer, tmp_path):
    explorer.query.value = "tomas"
    (tmp_path / "graph_edits.jsonl").mkdir()
    explorer.side.name.value = "Tom"
    press(explorer, "rename")
    assert "IsADirectoryError" in explorer.message.value
    assert explorer.index.entity(TOMAS).name == "Tomas" and explorer.edits.events == []


def test_buttons_without_a_choice_say_what_is_missing(explorer):
    for name in ("near", "rename", "delete", "other_end", "unlink", "accept", "undo_alias", "open", "search"):
        press(explorer, name)
        assert "ValueError" in explorer.message.value, name


def test_aliases_are_decided_here_and_never_beyond_what_was_said(tmp_path):
    ids = [tuple(sorted(pair)) for pair in ((TOMAS, ILSE), (TOMAS, WEISS))]
    pairs = [AliasPair(one, one, 0.9, 0.9, 0.9, 0.0, (f"alike {HOSTILE}",)) for one in ids]
    explorer = make(tmp_path, suggestions=pairs)
    explorer.query.value = "tomas"
    assert [label for label, _ in explorer.side.aliases.options] == ["Ilse Brandt: undecided", "Dr. Weiss: undecided"]
    assert "<script" not in explorer.side.reasons.value
    press(explorer, "accept")
    explorer.side.aliases.value = WEISS
    press(explorer, "accept")
    assert [label for label, _ in explorer.side.aliases.options] == ["Ilse Brandt: the same", "Dr. Weiss: the same"]
    assert len(explorer.side.review.grouped().groups) == 1  # not all three: nobody was asked about the last pair
    explorer.query.value = "ilse"
    assert ("Dr. Weiss: undecided", WEISS) in explorer.side.aliases.options
    press(explorer, "undo_alias", "undo_alias")
    assert explorer.side.review.grouped().groups == ()
    assert len((tmp_path / "aliases.jsonl").read_text().splitlines()) == 4


def test_pairs_of_an_earlier_visit_are_shown_and_coloured(tmp_path):
    chunk = tiny.CHUNKS[1].id
    made = QAPair("p", "local", "entity", "Whom did Dr. Weiss meet?", "", "Tomas.", (chunk,), "template", "f")
    write_records(tmp_path / "pairs.jsonl", [made])
    (tmp_path / "decisions.jsonl").write_text(json.dumps({"pair_id": "p", "action": "keep"}) + "\n")
    explorer = make(tmp_path)
    explorer.query.value = "weiss"
    assert "Pairs made from it: 1" in explorer.side.card.value and ">keep</span>" in explorer.side.card.value
    press(explorer, "best")
    plain = {node["id"]: node["color"]["background"] for node in explorer.canvas.picture["nodes"]}
    explorer.colour.value = "pairs made"
    shaded = {node["id"]: node["color"]["background"] for node in explorer.canvas.picture["nodes"]}
    assert shaded[WEISS] == shaded[TOMAS] != shaded[ILSE]
    assert plain != shaded and "pairs made" in explorer.legend.value


def test_without_pairs_there_is_no_colour_for_them(explorer):
    assert [one for _, one in explorer.colour.options] == ["community", "type", "document"]


def test_where_no_widget_lives_there_is_the_still_picture_and_a_text(explorer):
    bundle = explorer._repr_mimebundle_()
    frames = re.findall(r'<iframe sandbox="([^"]*)"', bundle["text/html"])
    assert frames == ["allow-scripts"]
    assert "5 entities" in bundle["text/plain"] and "application/vnd.jupyter.widget-view+json" in bundle


@pytest.mark.parametrize("count", [0, 1, 3])
def test_small_graphs_can_be_explored(tmp_path, count):
    entities = [Entity(f"n{at}", f"{HOSTILE} {at}", HOSTILE, HOSTILE, (), ("c0",)) for at in range(count)]
    links = [Relationship("l", "n0", "n0", 1.0, HOSTILE, (), ())] if count == 3 else []
    explorer = make(tmp_path, entities, links, [Community("k", 0, "", ("n0",), HOSTILE, HOSTILE, ())] if count else [])
    click(explorer, "node", LOOSE)
    press(explorer, "best")
    assert len(drawn(explorer)) == count
    if count == 3:
        click(explorer, "edge", "l")
        assert "weight 1" in explorer.side.card.value
    parts = (explorer.side.card, explorer.side.report, explorer.side.history, explorer.legend, explorer.caption)
    assert not any("<script" in part.value or "<img" in part.value for part in parts)


def test_the_canvas_has_its_script_with_it_and_loads_nothing(explorer):
    script = explorer.canvas._esm
    assert "vis-network" in script and "data-lm-suppress-shortcuts" in script
    assert "innerHTML" not in script.split("(vis, {}, undefined)")[1]
    assert not re.findall(r"(?:import|from)\s*\(?['\"]https?:", script)
