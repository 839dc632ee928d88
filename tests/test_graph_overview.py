import random

import pytest

from ragtune_lib.graph.edits import corrections
from ragtune_lib.graph.overview import LOOSE, Filter, GraphIndex
from ragtune_lib.graph.views import View, picture
from ragtune_lib.records import Chunk, Community, Document, Entity, GraphEdit, Relationship

CHUNKS = [Chunk(f"c{at}", f"d{at % 2}", 0, 9, "text", date) for at, date in enumerate(("2025-01-01", "2025-02-01", ""))]


def entity(one, kind="person", chunk="c0"):
    return Entity(one, f"Name {one}", kind, "", (), (chunk,))


def link(source, target, weight=1.0, number="", chunk="c0"):
    return Relationship(f"{source}{target}{number}", source, target, weight, "", (), (chunk,))


#   a - b - c   d - e   (two communities, two links between them, c inside a smaller one), f alone
ENTITIES = [entity(one) for one in "abcde"] + [entity("f", "place", "c2")]
LINKS = [link("a", "b", 3.0), link("b", "c", 2.0), link("d", "e"), link("c", "d"), link("b", "e", 5.0, chunk="c1")]
GROUPS = [
    Community("x", 0, "", ("a", "b", "c"), "Big", "A report.", ()),
    Community("y", 0, "", ("d", "e"), "Small", "", ()),
    Community("z", 1, "x", ("b", "c"), "Inner", "", ()),
]


@pytest.fixture
def index():
    return GraphIndex(ENTITIES, LINKS, GROUPS, CHUNKS)


def ids(part):
    return [one.id for one in part.entities], sorted(one.id for one in part.links)


def test_communities_are_a_graph_with_members_and_links_between_them(index):
    found = index.overview()
    assert [(group.id, group.members) for group in found.groups] == [("x", 3), ("y", 2), (LOOSE, 1)]
    assert found.links == (("x", "y", 2),)


def test_at_a_finer_level_what_was_not_split_stays(index):
    found = index.overview(level=1)
    assert {(group.id, group.members) for group in found.groups} == {("z", 2), ("y", 2), ("x", 1), (LOOSE, 1)}
    assert {(*sorted(ends), count) for *ends, count in found.links} == {("x", "z", 1), ("y", "z", 2)}


def test_only_the_largest_groups_are_shown_and_the_rest_is_counted(index):
    found = index.overview(limit=1)
    assert ([group.id for group in found.groups], found.links, found.whole) == (["x"], (), 3)


def test_a_community_shows_its_entities_and_the_links_inside(index):
    assert ids(index.members("x")) == (["b", "c", "a"], ["ab", "bc"])
    assert ids(index.members(LOOSE)) == (["f"], [])
    with pytest.raises(ValueError, match="no community"):
        index.members("nowhere")


def test_a_neighbourhood_takes_the_strongest_first_and_is_connected(index):
    assert ids(index.near("b")) == (["b", "e", "a", "c"], ["ab", "bc", "be"])
    assert ids(index.near("b", limit=2)) == (["b", "e"], ["be"])
    assert ids(index.near("a", 2)) == (["a", "b", "e", "c"], ["ab", "bc", "be"])  # e: min(3, 5), c: min(3, 2)
    assert index.near("f").whole == 1
    for wrong in (("ghost", 1), ("a", 3)):
        with pytest.raises(ValueError, match=r"no entity|steps=3"):
            index.near(*wrong)


def test_two_steps_are_what_a_plain_search_finds():
    rng = random.Random(5)
    entities = [entity(f"{at:02}") for at in range(40)]
    links = {}
    while len(links) < 70:
        source, target = sorted(rng.sample(range(40), 2))
        links[source, target] = link(f"{source:02}", f"{target:02}", float(rng.randint(1, 9)))
    index = GraphIndex(entities, list(links.values()), [])
    around = {one.id: set() for one in entities}
    for one in links.values():
        around[one.source].add(one.target)
        around[one.target].add(one.source)
    for one in entities:
        first = around[one.id]
        both = {one.id} | first | {far for near in first for far in around[near]}
        part = index.near(one.id, 2, limit=1000)
        assert {found.id for found in part.entities} == both
        assert {found.id for found in part.links} == {
            found.id for found in links.values() if {found.source, found.target} <= both
        }
        reached = {one.id}
        for found in index.near(one.id, 2, limit=9).entities[1:]:  # whoever is in has a way among those before
            assert around[found.id] & reached
            reached.add(found.id)


def test_filters_by_type_weight_document_and_date(index):
    assert ids(index.best_connected(Filter(kind="place"))) == (["f"], [])
    assert ids(index.near("b", wanted=Filter(min_weight=3))) == (["b", "e", "a"], ["ab", "be"])
    assert ids(index.best_connected(Filter(since="2025-02-01"))) == ([], [])
    assert len(index.best_connected(Filter(until="2025-01-31")).entities) == 5  # f has no date
    found = index.overview(wanted=Filter(document="d0"))
    assert [group.members for group in found.groups] == [3, 2, 1]
    assert found.links == (("x", "y", 1),)  # the other one is told by a chunk of d1


def test_search_puts_the_same_name_first_and_ignores_case_and_signs():
    names = ("Anna Berg", "Hanna", "anna", "Bert", "\u4e2d\u6587", "!!!")
    index = GraphIndex([Entity(str(at), name, "", "", (), ("c",)) for at, name in enumerate(names)], [], [])
    assert [one.name for one in index.search(" ANNA ")] == ["anna", "Anna Berg", "Hanna"]
    assert [one.name for one in index.search("\u6587")] == ["\u4e2d\u6587"]
    assert [one.name for one in index.search("!!")] == ["!!!"]
    assert index.search("  ") == []


def test_parallel_links_and_loops_are_counted_and_kept():
    links = [link("a", "b"), link("a", "b", 2.0, "2"), link("a", "a")]
    index = GraphIndex(ENTITIES[:2], links, [])
    assert ids(index.near("a")) == (["a", "b"], ["aa", "ab", "ab2"])
    assert index.degrees(["a", "b"]) == {"a": 3, "b": 2}
    assert [one.id for one in index.relations("a")] == ["ab2", "aa", "ab"]


def test_corrections_show_at_once_and_the_old_index_stays(index):
    events = [GraphEdit("a", "rename", "Zora"), GraphEdit("c", "delete"), GraphEdit("be", "unlink")]
    index.search("name")
    now = index.corrected(corrections(events))
    assert [one.id for one in now.search("zora")] == ["a"]
    assert now.search("name a") == []
    assert ids(now.near("b")) == (["b", "a"], ["ab"])
    assert now.degrees(["b", "d"]) == {"b": 1, "d": 1}
    assert now.overview().links == ()
    with pytest.raises(ValueError, match="no entity"):
        now.entity("c")
    assert ids(index.near("b")) == (["b", "e", "a", "c"], ["ab", "bc", "be"])
    assert ids(now.corrected(corrections([])).near("b", wanted=Filter(kind="person")))[0] == ["b", "a"]


def test_a_link_to_nobody_is_refused():
    with pytest.raises(ValueError, match="unknown entity 'ghost'"):
        GraphIndex(ENTITIES, [link("a", "ghost")], [])


def test_a_graph_of_nothing_has_an_empty_overview():
    index = GraphIndex([], [], [])
    assert index.overview().groups == ()
    assert picture(index, View("overview")).nodes == ()
    assert picture(index, View("best")).caption.startswith("best connected: 0 entities")


def test_the_overview_is_drawn_by_members_titles_and_links(index):
    drawing = picture(index, View("overview"))
    assert {node.id: node.label for node in drawing.nodes} == {"x": "Big", "y": "Small", LOOSE: "in no community"}
    sizes = {node.id: node.size for node in drawing.nodes}
    assert sizes["x"] > sizes["y"] > sizes[LOOSE]
    (edge,) = drawing.edges
    assert (edge.source, edge.target, edge.label) == ("x", "y", "2")
    assert "A report." in drawing.nodes[0].title
    assert picture(index, View("overview")) == drawing


def test_every_view_can_be_coloured_by_group_and_by_count(index):
    documents = [Document("d0", "one.md", "", "", ""), Document("d1", "two.md", "", "", "")]
    for view in (View("overview"), View("community", "x"), View("near", "b", 2), View("best")):
        drawn = {node.id for node in picture(index, view).nodes}
        for colour, counts in (("type", None), ("document", None), ("pairs made", {"a": 3, "b": 1})):
            drawing = picture(index, view, colour, counts, documents)
            assert {node.id for node in drawing.nodes} == drawn
            assert {node.colour for node in drawing.nodes} <= {shade for shade, _ in drawing.colouring.legend}
            assert drawing.colouring.heading == colour
    sums = picture(index, View("overview"), "pairs made", {"a": 3, "b": 1, "d": 1})
    assert [meaning for _, meaning in sums.colouring.legend][-1] == "4"


def test_inside_a_community_colours_are_those_of_the_next_level(index):
    legend = picture(index, View("community", "x")).colouring.legend
    assert [meaning for _, meaning in legend] == ["Inner", "Big"]
