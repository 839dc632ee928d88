import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import networkx
import pytest

from ragtune_lib.graph.colours import NOTHING, PALETTE, SCALE, by_community, by_count, by_document, by_group
from ragtune_lib.graph.drawing import LABEL_LENGTH, LETTER_PX, LINES, draw, shown
from ragtune_lib.graph.graphrag_export import export_gexf, export_graphml
from ragtune_lib.graph.pictures import find_browser, svg, write_png, write_svg
from ragtune_lib.graph_view import drawing_page
from ragtune_lib.records import Chunk, Community, Document, Entity, Relationship, Sentence

NASTY = [
    "<script>window.hit=1</script>", "</script><img src=x onerror=hit()>", 'href="javascript:hit()"', "' \" & ]]>",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd", "\u202egnp.exe", "\U0001f468\u200d\U0001f469\u200d\U0001f467 zwj", "nul \x00 bell \x07 esc \x1b[31m",
    "line\nbreak\ttab\r\u2028end", "x" * 10_000, " ", "", "{{7*7}} ${hit()} `hit()`",
]  # fmt: skip


def entity(one, name, description=""):
    evidence = (Sentence(f"{name} was there.", "c", "2025-03-09"),)
    return Entity(one, name, "person", description, evidence, ("c",))


def link(number, source, target, description="", weight=1.0):
    return Relationship(f"r{number}", source, target, weight, description, (), ("c",))


def drawn(entities, links=(), **more):
    degree = {one.id: sum(one.id in (x.source, x.target) for x in links) for one in entities}
    return draw(entities, links, degree, by_group({}, [one.id for one in entities]), **more)


HOSTILE = [entity(f"n{at}", name, name) for at, name in enumerate(NASTY)]
TIES = [link(at, f"n{at}", f"n{at + 1}", NASTY[at]) for at in range(len(NASTY) - 1)]


def test_no_node_or_label_covers_another():
    entities = [entity(f"n{at:02}", f"Somebody with number {at}") for at in range(60)]
    links = [link(at, f"n{at:02}", f"n{at * 7 % 60:02}") for at in range(1, 60)]
    boxes = [
        (node.x, node.y, max(node.size, len(node.label) * LETTER_PX / 2), node.size + 8)
        for node in drawn(entities, links).nodes
    ]
    covered = [
        (one, other)
        for one, other in itertools.combinations(boxes, 2)
        if abs(one[0] - other[0]) < one[2] + other[2] - 4 and abs(one[1] - other[1]) < one[3] + other[3] - 4
    ]
    assert not covered


def test_the_same_graph_in_any_order_gives_the_same_drawing():
    first = drawn(HOSTILE, TIES)
    assert drawn(HOSTILE[::-1], TIES[::-1]) == first
    assert svg(drawn(HOSTILE[::-1], TIES[::-1])) == svg(first)
    assert drawn(HOSTILE, TIES, seed=18) != first


def test_parallel_relations_share_a_line_that_tells_each_and_loops_are_drawn():
    entities = [entity("a", "Anna"), entity("b", "Bert")]
    links = [link(1, "a", "b", "sings with", 2.0), link(2, "a", "b", "owes money to"), link(3, "b", "a", "sings with"), link(4, "a", "a", "doubts herself")]  # fmt: skip
    edges = {(edge.source, edge.target): edge for edge in drawn(entities, links).edges}
    assert set(edges) == {("a", "b"), ("a", "a")}
    assert edges["a", "b"].label == "sings with\nowes money to"
    assert edges["a", "b"].title.count("Anna \u2013 Bert") == 3
    assert edges["a", "b"].width == 2.0  # the root of 2 + 1 + 1
    page, picture = drawing_page(drawn(entities, links)), svg(drawn(entities, links))
    for text in ("sings with", "owes money to", "doubts herself"):
        assert text in page and text in picture


def test_relations_by_rules_have_no_label():
    sentence = Sentence("Anna met Bert.", "c", "")
    told = Relationship("r", "a", "b", 1.0, "Anna met Bert.", (sentence,), ("c",))
    (edge,) = drawn([entity("a", "Anna"), entity("b", "Bert")], [told]).edges
    assert edge.label == "" and "Anna met Bert." in edge.title


def test_what_is_left_out_of_a_tangle_is_said():
    entities = [entity(f"n{at:02}", str(at)) for at in range(50)]
    pairs = itertools.combinations(range(50), 2)
    links = [link(at, f"n{a:02}", f"n{b:02}", weight=at) for at, (a, b) in enumerate(pairs, 1)]
    drawing = drawn(entities, links, caption="all")
    assert len(drawing.edges) == LINES and drawing.caption == f"all; the {LINES:,} strongest of 1,225 lines"
    assert min(edge.width for edge in drawing.edges) == 6.0  # the weak ones are gone


@pytest.mark.parametrize("count", [0, 1, 2])
def test_small_graphs_have_a_picture(count):
    drawing = drawn([entity(f"n{at}", "Anna") for at in range(count)])
    root = ElementTree.fromstring(svg(drawing))
    assert len([one for one in root if one.tag.endswith("circle") and len(one)]) == count
    assert "<!doctype html>" in drawing_page(drawing)


def test_hostile_names_are_text_in_the_svg_and_the_page():
    drawing = drawn(HOSTILE, TIES)
    assert len(drawing.nodes) == len(NASTY) and len(drawing.edges) == len(TIES)
    root = ElementTree.fromstring(svg(drawing))
    tags = {one.tag.rsplit("}", 1)[1] for one in root.iter()}
    assert tags == {"svg", "title", "rect", "line", "circle", "text"}
    assert {name for one in root.iter() for name in one.attrib if name.startswith("on") or "href" in name} == set()
    labels = {one.text for one in root.iter() if one.tag.endswith("text")}
    assert {node.label for node in drawing.nodes} <= labels
    page = drawing_page(drawing)
    assert page.count("</script>") == drawing_page(drawn([])).count("</script>")
    assert "<img src=x" not in page and "div.popup" not in page


def test_labels_are_short_whole_and_cannot_reorder_their_neighbours():
    labels = [shown(name, LABEL_LENGTH) for name in NASTY]
    assert all(0 < len(label) <= LABEL_LENGTH for label in labels)
    assert not set("".join(labels)) & set("\x00\x07\x1b\u202e\u2028\n\r")
    assert labels[4] == NASTY[4] and labels[6] == NASTY[6]  # other scripts and joined emoji stay
    assert labels[-2] == labels[-3] == "(no name)"


def test_gexf_and_graphml_hold_every_relation_and_survive_hostile_text(tmp_path):
    links = [*TIES, link("same", "n0", "n1", "again"), link("loop", "n2", "n2")]
    groups = [Community("k", 0, "", ("n0",), "<b>", "", ())]
    for name, export, read in (
        ("g.gexf", export_gexf, networkx.read_gexf), ("g.graphml", export_graphml, networkx.read_graphml)
    ):  # fmt: skip
        export(tmp_path / name, HOSTILE, links, groups)
        graph = read(tmp_path / name)
        assert (graph.number_of_nodes(), graph.number_of_edges()) == (len(HOSTILE), len(links))
        assert graph.nodes["n0"]["label"] == NASTY[0] and graph.nodes["n0"]["community_0"] == "k"
        first = (tmp_path / name).read_bytes()
        export(tmp_path / name, HOSTILE, links, groups)
        assert (tmp_path / name).read_bytes() == first
    assert "lastmodified" not in (tmp_path / "g.gexf").read_text()


def test_a_png_says_what_it_needs_where_there_is_no_browser(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    with pytest.raises(RuntimeError, match=r"needs Chromium or Chrome.*BROWSER_PATH"):
        write_png(tmp_path / "g.png", drawn(HOSTILE[:1]))
    monkeypatch.setenv("BROWSER_PATH", sys.executable)  # a program that draws nothing
    with pytest.raises(RuntimeError, match="drew no picture"):
        write_png(tmp_path / "g.png", drawn(HOSTILE[:1]))
    assert not (tmp_path / "g.png").exists()


@pytest.mark.skipif(not find_browser(), reason="no Chromium is installed")
def test_a_png_is_as_wide_as_asked_for(tmp_path):
    write_png(tmp_path / "g.png", drawn(HOSTILE, TIES), width_px=640)
    data = (tmp_path / "g.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and int.from_bytes(data[16:20], "big") == 640


def test_an_svg_is_written_whole(tmp_path):
    write_svg(tmp_path / "g.svg", drawn(HOSTILE, TIES))
    assert (tmp_path / "g.svg").read_text(encoding="utf-8").endswith("</svg>\n")


def test_colours_of_groups_go_to_the_largest_and_grey_to_the_rest():
    groups = {f"n{at}": f"g{at % 20:02}" for at in range(100)} | {"n1": "g00", "n21": "g00"}
    found = by_group(groups, list(groups), "type")
    assert [meaning for _, meaning in found.legend] == [*(f"g{at:02}" for at in (0, *range(2, 13))), "other or none"]
    assert found.of("n0") == found.of("n1") == PALETTE[0]


@pytest.mark.parametrize("highest", [0, 1, 4, 5, 6, 9, 70, 10_000])
def test_counts_get_darker_and_each_has_one_line_of_the_legend(highest):
    counts = {str(count): count for count in range(highest + 1)}
    found = by_count(counts, list(counts))
    shades = [NOTHING, *SCALE]
    order = [shades.index(found.of(str(count))) for count in range(highest + 1)]
    assert order == sorted(order) and order[0] == 0
    assert order[-1] == (len(SCALE) if highest > 1 else highest)
    assert {shade for shade, _ in found.legend} == {found.of(one) for one in counts}


def test_groups_come_from_communities_and_documents():
    groups = [Community("k", 0, "", ("a", "b"), "Same", "", ()), Community("l", 0, "", ("c",), "Same", "", ())]
    assert by_community(groups) == {"a": "Same", "b": "Same", "c": "Same (2)"}
    chunks = [Chunk(f"c{at}", f"d{at // 2}", 0, 1, "", "") for at in range(4)]
    one = Entity("a", "A", "", "", (), ("c0", "c2", "c3", "gone"))
    assert by_document([one], chunks, [Document("d1", "one.md", "", "", "")]) == {"a": "one.md"}


def test_drawing_loads_no_browser_and_no_pyvis():
    code = "import sys, ragtune_lib.graph.drawing, ragtune_lib.graph.pictures; print([n for n in ('pyvis', 'anywidget', 'ipywidgets') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
