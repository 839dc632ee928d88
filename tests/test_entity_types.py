import pytest

from ragtune_lib.graph.entity_types import ENTITY_TYPES, is_time, nearest_type


def test_the_types_of_the_paper_stand_for_themselves():
    assert [nearest_type(kind.upper(), ENTITY_TYPES) for kind in ENTITY_TYPES] == list(ENTITY_TYPES)


@pytest.mark.parametrize(
    ("told", "meant"),
    [("companies", "organization"), ("Location", "geo"), ("abstract_object", "abstract object"), ("persn", "person"),
     ("person|organization", "person"), ("software tool", "specific object"), ("mood", ""), ("", "")],
)  # fmt: skip
def test_a_type_is_the_nearest_of_the_list_or_none(told, meant):
    assert nearest_type(told, ENTITY_TYPES) == meant


def test_what_a_word_stands_for_counts_only_where_it_was_asked_for():
    assert nearest_type("city", ["person", "place"]) == ""
    assert nearest_type("city", ["City", "geo"]) == "City"


@pytest.mark.parametrize(
    "name",
    ["2022", "27 June 2022", "June 27th, 2022", "Monday", "the 1990s", "last week", "10:30", "10:30 a.m.", "2022-06-27",
     "2022-06-27T10:00:00Z", "27/06/22", "Q3 2021", "weeks", "mid-1980s", "Yesterday"],
)  # fmt: skip
def test_times_are_no_entities(name):
    assert is_time(name, "event")


@pytest.mark.parametrize(
    "name",
    ["Black Friday", "Apollo 11", "9/11", "24/7", "747", "2001: A Space Odyssey", "Web 2.0", "The The", "Day One"],
)
def test_names_with_numbers_and_days_in_them_are_no_times(name):
    assert not is_time(name, "event")


def test_a_person_may_be_called_like_a_month_but_not_like_a_year():
    assert not is_time("April", "person")
    assert is_time("April", "event") and is_time("2022", "person")
