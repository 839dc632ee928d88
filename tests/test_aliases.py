import math
import random

import numpy as np
import pytest

from ragtune_lib.graph.aliases import MAX_BLOCK, _candidates, _neighbours, name_likeness, suggest_aliases
from ragtune_lib.records import Entity, Relationship


def entity(name, kind="person", description=""):
    return Entity(f"id-{name}", name, kind, description, (), ("c",))


def link(left, right):
    source, target = sorted((f"id-{left}", f"id-{right}"))
    return Relationship(f"{source}-{target}", source, target, 1.0, "", (), ())


def suggested(names, links=(), **options):
    pairs = suggest_aliases([entity(name) for name in names], [link(*one) for one in links], **options)
    return {frozenset(pair.names): pair for pair in pairs}


@pytest.mark.parametrize(
    ("left", "right", "likeness"),
    [
        ("Ilse Brandt", "ILSE BRANDT", 1.0),
        ("Brandt, Ilse", "Ilse Brandt", 1.0),
        ("the pear trees", "pear tree", 1.0),
        ("Tim", "Tiny Tim", 0.85),
        ("Dick", "Dick Wilkins", 0.75),
        ("USI", "University of Southern Indiana", 0.9),
        ("usi", "University of Southern Indiana", 0.0),
        ("!?", "...", 0.0),
    ],
)
def test_likeness_of_names(left, right, likeness):
    found = name_likeness(left, right)
    assert found == name_likeness(right, left)
    assert found[0] == likeness if likeness else found[0] < 0.5


def test_words_in_common_do_not_make_different_names_alike():
    assert name_likeness("Kristin Wilkins", "Kristen Wilkins")[0] > 0.8
    assert name_likeness("Peter Wilkins", "Martha Wilkins")[0] < 0.5
    assert name_likeness("Scrooge", "Scrooge's clerk")[0] < 0.7


def test_a_pair_comes_with_its_score_and_its_reasons():
    links = [("Tim", "Bob"), ("Tiny Tim", "Bob"), ("Tim", "Ann"), ("Tiny Tim", "Ann"), ("Tim", "Joe"), ("Tim", "Eve")]
    pair = suggested(["Tim", "Tiny Tim", "Bob", "Ann", "Joe", "Eve"], links)[frozenset(("Tim", "Tiny Tim"))]
    assert (pair.name, pair.neighbours) == (0.85, 0.5)  # two shared, a neighbourhood counts as four at least
    assert pair.score == pytest.approx(0.7 * 0.85 + 0.3 * 0.5)
    assert math.isnan(pair.meaning)
    assert pair.reasons == ("one name is part of the other", "both are linked with Ann, Bob")
    assert pair.entity_ids == tuple(sorted(("id-Tim", "id-Tiny Tim")))


def test_standing_in_one_sentence_and_another_type_speak_against_it():
    entities = [entity("Ilse Brandt"), entity("Ilse Brand", kind="geo")]
    apart = suggest_aliases([entities[0], entity("Ilse Brand")], [], at_least=0.3)[0]
    together = suggest_aliases(entities, [link("Ilse Brandt", "Ilse Brand")], at_least=0.3)[0]
    assert apart.score - together.score == pytest.approx(0.2)
    assert "against it: a sentence names both" in together.reasons
    assert "against it: Ilse Brand is geo, Ilse Brandt is person" in together.reasons


def test_names_with_other_numbers_are_never_paired():
    assert not suggested(["Level 1", "Level 2"], at_least=0.0)
    assert suggested(["Level 1", "Levels 1"], at_least=0.0)


def embed(texts):
    """Two directions: what speaks of winter, and all else."""
    return np.array([[1.0, 0.0] if "winter" in text else [0.0, 1.0] for text in texts])


def test_meaning_finds_a_pair_whose_names_have_nothing_in_common():
    entities = [
        entity("Santa Claus", description="He comes in winter."), entity("Father Frost", description="winter man"),
        entity("Easter Bunny", description="He comes in spring."), *[entity(name) for name in ("A", "B", "C", "D")],
    ]  # fmt: skip
    links = [link(one, other) for one in ("Santa Claus", "Father Frost", "Easter Bunny") for other in "ABCD"]
    pairs = suggest_aliases(entities, links, embed, at_least=0.5)
    assert [set(pair.names) for pair in pairs] == [{"Santa Claus", "Father Frost"}]
    assert (pairs[0].meaning, pairs[0].neighbours) == (1.0, 1.0)
    assert "name and description mean 100% the same" in pairs[0].reasons


def test_only_entities_that_may_still_be_suggested_are_embedded():
    asked = []

    def counting(texts):
        asked.extend(texts)
        return embed(texts)

    names = ["Ilse Brandt", "Ilse Brand", "Bremen", "Oslo"]
    suggest_aliases([entity(name) for name in names], [], counting)
    assert [text.split(":")[0] for text in asked] == ["Ilse Brand", "Ilse Brandt"]
    asked.clear()
    assert suggest_aliases([entity("Oslo"), entity("Bremen")], [], counting) == []
    assert asked == []


def test_order_of_the_input_does_not_matter():
    rng = random.Random(3)
    words = ["Ilse", "Ilsa", "Brandt", "Brand", "Tomas", "Thomas", "Vogt"]
    names = sorted({f"{rng.choice(words)} {rng.choice(words)}" for _ in range(40)})
    entities = [entity(name) for name in names]
    links = [link(*rng.sample(names, 2)) for _ in range(60)]
    expected = suggest_aliases(entities, links, embed)
    assert len(expected) > 5
    assert [pair.score for pair in expected] == sorted((pair.score for pair in expected), reverse=True)
    for _ in range(3):
        rng.shuffle(entities)
        rng.shuffle(links)
        assert suggest_aliases(entities, links, embed) == expected
    assert suggest_aliases(entities, links, embed, most=3) == expected[:3]


def test_comparisons_do_not_grow_with_the_square_of_the_names():
    rng = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=7)).capitalize() for _ in range(3000)]
    names = sorted({f"{rng.choice(words)} {rng.choice(words)}" for _ in range(3000)})
    pairs = _candidates([entity(name) for name in names], _neighbours([]))
    assert len(pairs) < 4 * len(names)


def test_a_single_name_is_compared_with_all_that_hold_it_however_many():
    names = ["Scrooge", *(f"{chr(65 + n // 26)}{chr(97 + n % 26)}x Scrooge" for n in range(2 * MAX_BLOCK))]
    pairs = _candidates([entity(name) for name in names], _neighbours([]))
    assert len([pair for pair in pairs if "id-Scrooge" in pair]) == 2 * MAX_BLOCK
    assert len(pairs) == 2 * MAX_BLOCK


def test_initials_are_compared_with_what_they_may_stand_for():
    pairs = _candidates([entity("USI"), entity("University of Southern Indiana"), entity("usi")], _neighbours([]))
    assert ("id-USI", "id-University of Southern Indiana") in pairs
    assert ("id-University of Southern Indiana", "id-usi") not in pairs


def test_nothing_gives_nothing():
    assert suggest_aliases([], []) == []
    assert suggest_aliases([entity("Ilse")], [], embed) == []
