"""Going through a list: what comes next, whatever was decided in the meantime."""

import random
from types import SimpleNamespace

from ragtune_lib.curation.walk import Walk


def walk(ids, through=False):
    states = {}
    return Walk(SimpleNamespace(state=lambda one: states.get(one, "undecided")), ids, through), states


def test_every_pair_is_shown_until_it_is_decided_and_none_twice_in_a_row():
    chance = random.Random(3)
    for _ in range(50):
        ids = [str(number) for number in range(chance.randrange(1, 9))]
        here, states = walk(ids)
        shown = []
        while (one := here.onward()) is not None:
            assert states.get(one) not in ("keep", "edit", "drop")
            assert not (shown and shown[-1] == one and len(ids) - len([s for s in states.values() if s == "drop"]) > 1)
            shown.append(one)
            states[one] = chance.choice(["drop", "skip", "flag"])
        assert set(states.values()) == {"drop"}
        assert set(states) == set(ids)


def test_skipped_pairs_come_after_the_others():
    here, states = walk(list("abc"))
    states[here.onward()] = "skip"
    states[here.onward()] = "keep"
    states[here.onward()] = "keep"
    assert here.onward() == "a"


def test_a_list_of_decided_pairs_is_gone_through_once():
    here, states = walk(list("ab"), through=True)
    states.update(a="drop", b="keep")
    assert [here.onward(), here.onward(), here.onward()] == ["a", "b", None]


def test_steps_stop_at_the_ends_and_an_empty_list_has_none():
    here, _ = walk(list("abc"))
    assert [here.step(-1), here.step(1), here.step(1), here.step(1), here.step(-1)] == ["a", "b", "c", "c", "b"]
    assert walk([])[0].step(1) is None
    assert walk([])[0].onward() is None


def test_the_way_back_from_a_pair_outside_of_the_list_leads_to_where_it_was_left():
    for by, expected in ((1, "b"), (-1, "a")):
        here, _ = walk(list("abc"))
        assert [here.onward(), here.onward()] == ["a", "b"]
        here.visit("x")
        here.visit("y")
        assert here.step(by) == expected
    here.visit("x")
    here.visit("c")
    assert (here.onward(), here.outside) == ("a", False)
