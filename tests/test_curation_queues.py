import random
from itertools import pairwise

import numpy as np
import pytest

from ragtune_lib.curate import Curation
from ragtune_lib.curation.queues import ORDERS, Filter, choices, matching, ordered
from ragtune_lib.records import Chunk, Community, Document, Entity, Flag, QAPair
from ragtune_lib.store import write_records


def pair(id, question="What?", scope="local", kind="entity", chunks=("c1",), answer="Plum jam."):
    return QAPair(id, scope, kind, question, f"Recalled {id}.", answer, chunks, "template", "f")


CHUNKS = [Chunk("c1", "d1", 0, 9, "one", ""), Chunk("c2", "d1", 9, 18, "two", ""), Chunk("c3", "d2", 0, 9, "three", "")]
PAIRS = [
    pair("a", "Who sold jam?", chunks=("c3",)),
    pair("b", "Where is Straße 5?", "global", "theme", ("c1", "c3")),
    pair("c", "Who bought jam?", chunks=("c2",)),
    pair("d", "When was the fair?", chunks=(), answer="In MAY."),
]
FLAGS = [
    Flag("b", "echo", "x", False), Flag("b", "quote", "x", True), Flag("c", "echo", "x", False),
    Flag("c", "name", "x", False), Flag("gone", "quote", "x", True),
]  # fmt: skip


@pytest.fixture
def review(tmp_path):
    write_records(
        tmp_path / "documents.jsonl", [Document("d1", "one.md", "", "", ""), Document("d2", "two.md", "", "", "")]
    )
    write_records(
        tmp_path / "entities.jsonl",
        [Entity("e1", "Ilse", "name", "", (), ("c1", "c2")), Entity("e2", "Elsa", "name", "", (), ("c3",))],
    )
    write_records(
        tmp_path / "communities.jsonl",
        [Community("k1", 0, "", ("e1", "gone"), "Ilse", "", ()), Community("k2", 1, "k1", ("e2",), "Elsa", "", ())],
    )
    return Curation(tmp_path, PAIRS, FLAGS, "ada", CHUNKS)


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        ({}, "abcd"),
        ({"status": "drop"}, "a"),
        ({"status": "undecided"}, "bcd"),
        ({"scope": "global"}, "b"),
        ({"kind": "theme"}, "b"),
        ({"check": "echo"}, "bc"),
        ({"check": "leak"}, ""),
        ({"document": "d1"}, "bc"),
        ({"document": "d2"}, "ab"),
        ({"document": "d9"}, ""),
        ({"community": "k1"}, "bc"),
        ({"community": "k2"}, "ab"),
        ({"reviewer": "ada"}, "a"),
        ({"reviewer": "bob"}, ""),
        ({"text": "JAM"}, "abc"),
        ({"text": "jam bought"}, "c"),
        ({"text": "strasse"}, "b"),
        ({"text": "may FAIR"}, "d"),
        ({"text": "recalled bought"}, "c"),
        ({"text": "jam", "document": "d1", "scope": "local"}, "c"),
    ],
)
def test_a_filter_lets_through_what_fits_in_every_respect(review, chosen, ids):
    review.decide("a", "drop")
    review.decide("b", "note", note="only a note")
    assert matching(review, Filter(**chosen)) == list(ids)


def test_a_filter_that_cannot_be_is_refused(review, tmp_path):
    with pytest.raises(ValueError, match="unknown status 'kept'"):
        matching(review, Filter(status="kept"))
    with pytest.raises(ValueError, match="no community with id 'k9'"):
        matching(review, Filter(community="k9"))
    (tmp_path / "entities.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match="entities"):
        matching(Curation(tmp_path, PAIRS, FLAGS), Filter(community="k1"))


def test_the_search_sees_the_wording_as_it_stands(review):
    assert matching(review, Filter(text="quince")) == []
    review.decide("a", "edit", "Who sold Quince?", "", "Ilse.")
    assert (matching(review, Filter(text="quince")), matching(review, Filter(text="sold jam"))) == (["a"], [])
    review.undo()
    assert (matching(review, Filter(text="quince")), matching(review, Filter(text="sold jam"))) == ([], ["a"])


def test_every_choice_that_is_offered_can_be_chosen(review):
    review.decide("a", "drop")
    offered = choices(review)
    assert offered["document"] == [("two.md", "d2"), ("one.md", "d1")] or offered["document"] == [
        ("one.md", "d1"),
        ("two.md", "d2"),
    ]
    assert offered["reviewer"] == [("ada", "ada")]
    for field, values in offered.items():
        for _, value in values:
            matching(review, Filter(**{field: value}))


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_keeps_every_id_once(review, order):
    for ids in (list("abcd"), ["c", "a"], []):
        assert sorted(ordered(review, ids, order)) == sorted(ids)
    vectors = np.eye(4, dtype=np.float32)
    assert sorted(ordered(review, list("dcba"), order, embed=lambda texts: vectors)) == list("abcd")


def test_undecided_pairs_come_before_flagged_skipped_and_decided_ones(review):
    for pair_id, action in (("a", "drop"), ("b", "skip"), ("c", "flag")):
        review.decide(pair_id, action)
    assert ordered(review, list("abcd"), "undecided") == ["d", "c", "b", "a"]


def test_worst_is_what_blocks_then_what_has_most_findings(review):
    assert ordered(review, list("abcd"), "worst") == ["b", "c", "a", "d"]


def test_the_order_by_document_follows_the_chunks(review):
    assert ordered(review, list("abcd"), "document") == ["b", "c", "a", "d"]


def test_a_random_order_is_the_same_for_a_seed_and_for_any_part_of_the_ids(review):
    order = ordered(review, list("abcd"), "random", seed=3)
    assert order == ordered(review, list("dbca"), "random", seed=3)
    assert ordered(review, ["a", "c"], "random", seed=3) == [one for one in order if one in "ac"]
    assert len({tuple(ordered(review, list("abcd"), "random", seed)) for seed in range(20)}) > 5


def test_an_unknown_order_is_refused(review):
    with pytest.raises(ValueError, match="unknown order 'best'"):
        ordered(review, ["a"], "best")


def shuffled_groups(tmp_path, groups):
    """Four wordings of each thing, shuffled, and how many neighbours in an order are of one thing."""
    things = [f"thing{n}" for n in range(groups)]
    forms = ("Who sold the {}?", "Where is the {}?", "When did the {} break?", "Was the {} heavy?")
    made = [pair(f"{thing}-{n}", form.format(thing)) for thing in things for n, form in enumerate(forms)]
    random.Random(1).shuffle(made)
    return Curation(tmp_path, made, []), made


def neighbours(ids):
    names = [one.split("-")[0] for one in ids]
    return sum(left == right for left, right in pairwise(names))


def test_wordings_that_share_rare_words_stand_together(tmp_path):
    review, _ = shuffled_groups(tmp_path, 30)
    assert neighbours(ordered(review, list(review.pairs), "similar")) == 30 * 3


def test_wordings_with_near_vectors_stand_together_whatever_their_words(tmp_path):
    review, made = shuffled_groups(tmp_path, 30)
    rng = np.random.default_rng(2)
    centres = {f"thing{n}": rng.normal(size=32) for n in range(30)}
    vectors = np.stack([centres[one.id.split("-")[0]] + 0.01 * rng.normal(size=32) for one in made])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [one for one in review.pairs if not one.endswith("-3")]
    found = ordered(review, ids, "similar", embed=lambda texts: vectors)
    assert sorted(found) == sorted(ids)
    assert neighbours(found) == 30 * 2
    review.vectors = None
    assert (
        ordered(review, ids, "similar", embed=lambda texts: np.ones((len(texts), 4))) == ids
    )  # all alike: nothing to say
