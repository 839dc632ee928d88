import random

import pytest

from ragtune_lib.graph.build import build_graph, detect_communities
from ragtune_lib.records import Chunk, Entity, Mention, Relationship

CHUNKS = [Chunk(f"c{n}", f"d{n}", 0, 500, "", f"2025-01-0{n + 1}") for n in range(4)]


def mentions(*sentences):
    """Each sentence is (chunk number, offset, names); a name in lower case is a phrase."""
    return [
        Mention(name, "phrase" if name.islower() else "name", f"S{chunk}.{start}", f"c{chunk}", start)
        for chunk, start, names in sentences
        for name in names
    ]


def graph(*sentences):
    entities, links = build_graph(mentions(*sentences), CHUNKS)
    names = {entity.id: entity.name for entity in entities}
    return {e.name: e for e in entities}, {frozenset((names[x.source], names[x.target])): x for x in links}


def test_weight_is_the_number_of_shared_sentences_and_evidence_is_dated_and_ordered():
    entities, links = graph((1, 9, ["Ilse", "Bremen"]), (0, 5, ["Ilse", "Bremen"]), (0, 0, ["Ilse"]))
    link = links[frozenset(("Ilse", "Bremen"))]
    assert link.weight == 2
    assert [(s.text, s.date, s.position) for s in link.evidence] == [
        ("S0.5", "2025-01-01", 1),
        ("S1.9", "2025-01-02", 2),
    ]
    assert [s.text for s in entities["Ilse"].evidence] == ["S0.0", "S0.5", "S1.9"]
    assert entities["Ilse"].description == "S0.0 S0.5 S1.9"
    assert entities["Ilse"].chunk_ids == ("c0", "c1")
    assert link.source < link.target


def test_spellings_merge_by_normalised_name_and_the_most_frequent_one_is_shown():
    entities, _ = graph((0, 0, ["the Copper Whisk"]), (1, 0, ["Copper Whisk"]), (2, 0, ["Copper Whisk"]))
    assert set(entities) == {"Copper Whisk"}
    entities, _ = graph((0, 0, ["pear tree"]), (1, 0, ["pear trees"]), (2, 0, ["pear trees"]))
    assert set(entities) == {"pear trees"}


def test_a_single_name_joins_the_only_longer_name_it_belongs_to():
    entities, links = graph((0, 0, ["Ilse Brandt"]), (1, 0, ["Ilse", "Bremen"]), (2, 0, ["Ilse"]))
    assert set(entities) == {"Ilse", "Bremen"}
    assert len(entities["Ilse"].evidence) == 3
    assert len(links) == 1


def test_an_ambiguous_single_name_and_a_place_stay_apart():
    entities, _ = graph((0, 0, ["Ilse Brandt"]), (1, 0, ["Ilse Vogt"]), (2, 0, ["Ilse"]))
    assert set(entities) == {"Ilse Brandt", "Ilse Vogt", "Ilse"}
    entities, _ = graph((0, 0, ["Oxford Street"]), (1, 0, ["Oxford"]))
    assert set(entities) == {"Oxford Street", "Oxford"}


def test_two_phrases_are_linked_only_when_they_meet_twice():
    _, links = graph((0, 0, ["boat", "oar"]), (1, 0, ["boat", "Ilse"]))
    assert set(links) == {frozenset(("boat", "Ilse"))}
    _, links = graph((0, 0, ["boat", "oar"]), (1, 0, ["boat", "oar"]))
    assert set(links) == {frozenset(("boat", "oar"))}


def test_a_list_that_names_very_many_links_nothing():
    _, links = graph((0, 0, [f"N{number}" for number in range(31)]))
    assert links == {}


def test_a_sentence_seen_through_two_chunks_counts_once():
    overlapping = [Chunk("a", "d", 0, 50, "", ""), Chunk("b", "d", 10, 60, "", "")]
    twice = [Mention(name, "name", "S", chunk, 20) for chunk in ("a", "b") for name in ("Ilse", "Tomas")]
    _, links = build_graph(twice, overlapping)
    assert [link.weight for link in links] == [1.0]


def test_order_of_mentions_does_not_matter():
    rng = random.Random(0)
    rows = [
        (rng.randrange(4), rng.randrange(80), [f"N{rng.randrange(25)}", f"p{rng.randrange(9)}x"]) for _ in range(90)
    ]
    made = mentions(*rows)
    expected = build_graph(made, CHUNKS)
    for _ in range(3):
        rng.shuffle(made)
        assert build_graph(made, CHUNKS) == expected


def random_graph(edges, nodes, rng):
    pairs = {tuple(sorted(rng.sample(range(nodes), 2))) for _ in range(edges)}
    entities = [Entity(f"n{n:05}", f"N{n}", "name", "", (), ("c",)) for n in range(nodes)]
    return entities, [Relationship(f"{a}-{b}", f"n{a:05}", f"n{b:05}", 1.0, "", (), ()) for a, b in sorted(pairs)]


def test_communities_partition_the_linked_entities_and_nest():
    entities, links = random_graph(300, 120, random.Random(1))
    communities = detect_communities(entities, links, max_cluster_size=8)
    by_id = {community.id: community for community in communities}
    coarse = [member for c in communities if c.level == 0 for member in c.entity_ids]
    assert sorted(coarse) == sorted({end for link in links for end in (link.source, link.target)})
    for community in communities:
        assert list(community.entity_ids) == sorted(community.entity_ids)
        if community.level:
            parent = by_id[community.parent_id]
            assert parent.level == community.level - 1
            assert set(community.entity_ids) < set(parent.entity_ids)
            assert len(parent.entity_ids) > 8
        else:
            assert community.parent_id == ""
    assert max(community.level for community in communities) >= 1


def test_order_of_links_does_not_matter_to_communities():
    rng = random.Random(2)
    entities, links = random_graph(150, 60, rng)
    expected = detect_communities(entities, links, seed=17)
    for _ in range(5):
        rng.shuffle(links)
        assert detect_communities(entities, links, seed=17) == expected


def test_two_cliques_are_two_communities_and_an_isolated_entity_is_in_none():
    entities, _ = random_graph(0, 9, random.Random(0))
    pairs = [(a, b) for group in (range(4), range(4, 8)) for a in group for b in group if a < b]
    links = [Relationship(f"{a}{b}", f"n{a:05}", f"n{b:05}", 1.0, "", (), ()) for a, b in pairs]
    found = {community.entity_ids for community in detect_communities(entities, links)}
    assert found == {tuple(f"n{n:05}" for n in range(4)), tuple(f"n{n:05}" for n in range(4, 8))}


def test_an_empty_graph_and_a_single_entity_have_no_communities():
    assert build_graph([], []) == ([], [])
    assert detect_communities([], []) == []
    entities, links = build_graph(mentions((0, 0, ["Ilse"])), CHUNKS)
    assert (len(entities), links, detect_communities(entities, links)) == (1, [], [])


def test_bad_arguments_are_refused():
    entities, links = random_graph(5, 5, random.Random(3))
    with pytest.raises(ValueError, match="max_cluster_size=1"):
        detect_communities(entities, links, max_cluster_size=1)
    with pytest.raises(ValueError, match="unknown entity"):
        detect_communities(entities[:1], links)


def test_a_hundred_thousand_links_can_be_clustered():
    entities, links = random_graph(100_000, 20_000, random.Random(4))
    assert detect_communities(entities, links)
