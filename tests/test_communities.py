import pytest

from ragtune_lib.graph.communities import describe_communities
from ragtune_lib.records import Community, Entity, Relationship, Sentence

LATE = Sentence("Ada and Ben met.", "c2", "2025-05-01", 9)
EARLY = Sentence("Ada, Ben and Cy sang.", "c1", "2025-01-01", 2)
ALONE = Sentence("Dee slept.", "c0", "", 0)
COMMUNITY = Community("k", 0, "", ("a", "b", "c", "d"), "", "", ())


def an_entity(entity_id, name, *evidence):
    return Entity(entity_id, name, "name", "", evidence, ("c",))


ENTITIES = [
    an_entity("a", "Ada", EARLY, LATE),
    an_entity("b", "Ben", EARLY, LATE),
    an_entity("c", "Cy", EARLY),
    an_entity("d", "Dee", ALONE),
    an_entity("x", "Outsider", LATE),
]


def a_link(source, target, weight):
    return Relationship(source + target, source, target, weight, "", (), ())


LINKS = [
    a_link("a", "b", 2.0),
    a_link("a", "c", 1.0),
    a_link("b", "c", 1.0),
    a_link("c", "x", 50.0),
    a_link("c", "d", 2.0),
]


def test_the_title_names_the_best_connected_members_and_ignores_links_outside():
    assert describe_communities([COMMUNITY], ENTITIES, LINKS)[0].title == "Cy, Ada, Ben"


def test_the_summary_prefers_sentences_that_name_several_members():
    described = describe_communities([COMMUNITY], ENTITIES, LINKS, max_sentences=1)[0]
    assert (described.summary, described.evidence) == (EARLY.text, (EARLY,))


def test_the_summary_is_printed_in_date_order():
    described = describe_communities([COMMUNITY], ENTITIES, LINKS)[0]
    assert described.evidence == (ALONE, EARLY, LATE)
    assert described.summary == "Dee slept. Ada, Ben and Cy sang. Ada and Ben met."


def test_nothing_else_of_a_community_changes_and_none_gives_none():
    described = describe_communities([COMMUNITY], ENTITIES, LINKS)[0]
    assert (described.id, described.level, described.entity_ids) == (COMMUNITY.id, 0, COMMUNITY.entity_ids)
    assert describe_communities([], [], []) == []


def test_a_summary_of_no_sentence_is_refused():
    with pytest.raises(ValueError, match="max_sentences=0"):
        describe_communities([COMMUNITY], ENTITIES, LINKS, max_sentences=0)
