import html
import math
import re
from dataclasses import replace

import pytest

from ragtune_lib.explore.colours import PALETTE, by_count
from ragtune_lib.explore.drawing import positions
from ragtune_lib.graph_view import drawing_page, graph_drawing, still_view
from ragtune_lib.records import Community, Entity, Relationship, Sentence

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> href="https://evil.example/" \'"&'


def graph_page(*graph, **how):
    return drawing_page(graph_drawing(*graph, **how))


def an_entity(number, name="Ilse"):
    evidence = (Sentence(f"{name} sang.", "c", "2025-03-09"),)
    return Entity(f"n{number:03}", name, "name", f"{name} sang.", evidence, ("c",))


def a_link(a, b):
    evidence = (Sentence("Both sang.", "c", "2025-03-10"),)
    return Relationship(f"{a}-{b}", f"n{a:03}", f"n{b:03}", 1.0, "", evidence, ("c",))


def node_ids(page):
    return set(re.findall(r'"id": "(n\d{3})"', page))


def test_the_page_loads_nothing_from_elsewhere():
    page = graph_page([an_entity(1), an_entity(2)], [a_link(1, 2)], [])
    assert not re.search(r'(?:src|href)\s*=\s*["\']?https?://', page)
    assert page.startswith("<!doctype html>")
    assert node_ids(page) == {"n001", "n002"}


def test_tooltips_show_dated_evidence():
    page = graph_page([an_entity(1), an_entity(2)], [a_link(1, 2)], [])
    assert "9 March 2025: Ilse sang." in page
    assert "10 March 2025: Both sang." in page


def test_hostile_text_stays_text():
    entities = [an_entity(1, HOSTILE), an_entity(2)]
    communities = [Community("k", 0, "", ("n001", "n002"), HOSTILE, HOSTILE, ())]
    page = graph_page(entities, [a_link(1, 2)], communities)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "div.popup" not in page  # the look that pyvis chooses when it will show titles as HTML
    assert page.count("</script>") == graph_page([], [], []).count("</script>")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_nodes_and_no_links_are_drawn(count):
    assert len(node_ids(graph_page([an_entity(n) for n in range(count)], [], []))) == count


def test_only_the_best_connected_are_drawn_and_the_caption_says_so():
    entities = [an_entity(n) for n in range(6)]
    page = graph_page(entities, [a_link(4, 5), a_link(3, 4)], [], max_nodes=3)
    assert node_ids(page) == {"n003", "n004", "n005"}
    assert "6 entities, 2 relationships, 0 communities at level 0; the 3 best connected are drawn" in page


def test_the_largest_community_has_the_first_colour_and_a_legend_entry():
    communities = [
        Community("small", 0, "", ("n003",), "Small", "", ()),
        Community("large", 0, "", ("n001", "n002"), "Large & co", "", ()),
        Community("fine", 1, "large", ("n001",), "Fine", "", ()),
    ]
    page = graph_page([an_entity(n) for n in range(1, 5)], [], communities)
    assert f'background:{PALETTE[0]}"></i>Large &amp; co' in page
    assert page.count(f'"background": "{PALETTE[0]}"') == 2
    assert "Fine" not in page
    assert "other or none" in page


def test_the_same_graph_gives_the_same_page():
    entities, links = [an_entity(n) for n in range(5)], [a_link(0, 1), a_link(1, 2)]
    assert graph_page(entities, links, []) == graph_page(entities, links, [])


def test_no_node_at_all_cannot_be_asked_for():
    with pytest.raises(ValueError, match="max_nodes=0"):
        graph_page([], [], [], max_nodes=0)


def test_the_notebook_view_is_a_sandboxed_frame_with_a_text_beside_it():
    view = still_view(graph_drawing([an_entity(1, HOSTILE)], [], []))
    bundle = view._repr_mimebundle_()
    sandbox, source = re.search(r'<iframe sandbox="([^"]*)" [^>]*srcdoc="([^"]*)"', bundle["text/html"]).groups()
    assert sandbox == "allow-scripts"
    assert html.unescape(source) == view.page_html
    assert bundle["text/plain"] == "1 entities, 0 relationships, 0 communities at level 0"


def test_hovering_shows_what_a_model_wrote_and_repeats_no_evidence():
    by_rules = graph_page([an_entity(1), an_entity(2)], [a_link(1, 2)], [])
    assert "(name)" not in by_rules
    assert by_rules.count("Ilse sang.") == 2  # once for each entity
    typed = replace(an_entity(1), kind="person", description="Ilse is a singer from Halden.")
    link = replace(a_link(1, 2), description="They sing in one choir.", evidence=())
    page = graph_page([typed, an_entity(2)], [link], [])
    assert "Ilse (person)\\n\\nIlse is a singer from Halden.\\n\\n9 March 2025: Ilse sang." in page
    assert "They sing in one choir." in page
    hostile = replace(typed, kind=HOSTILE, description=HOSTILE)
    assert "<script>alert" not in graph_page([hostile], [], [])


def test_what_is_linked_to_nothing_stays_within_sight_of_the_rest():
    entities = [an_entity(number) for number in range(40)]
    links = [a_link(0, number) for number in range(1, 34)]
    weights = {(link.source, link.target): link.weight for link in links}
    names = {entity.id: entity.name for entity in entities}
    placed = positions(names, dict.fromkeys(names, 10.0), weights, 17)
    linked = [math.dist(placed["n000"], placed[f"n{number:03}"]) for number in range(1, 34)]
    alone = [math.dist(placed["n000"], placed[f"n{number:03}"]) for number in range(34, 40)]
    assert max(alone) < 2 * max(linked)


def test_counts_colour_the_page_where_they_are_given():
    colouring = by_count({"n001": 4}, ["n000", "n001"], "pairs <made>")
    page = graph_page([an_entity(0), an_entity(1)], [], [], colouring=colouring)
    assert f'"background": "{colouring.colours["n001"]}"' in page
    assert "<b>pairs &lt;made&gt;</b>" in page and "</i>4</li>" in page


def test_no_link_has_an_arrow_and_the_graph_is_fitted_when_it_is_seen():
    page = graph_page([an_entity(0), an_entity(1)], [a_link(0, 1)], [])
    assert '"arrows": ""' in page and '"arrows": "to"' not in page
    assert "IntersectionObserver" in page.split("drawGraph();")[-1]
