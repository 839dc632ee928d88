from ragtune_lib.graph.stale import stale_examples, stale_pairs
from ragtune_lib.records import Chunk, Example, QAPair

CHUNKS = [Chunk(name, "d", 0, 1, "x", "") for name in ("c1", "c2")]


def pair(name, *evidence):
    return QAPair(name, "local", "entity", "q", "", "a", evidence, "template", "f")


PAIRS = [pair("both", "c1", "c2"), pair("gone", "c3"), pair("half", "c1", "c3"), pair("none")]
EXAMPLES = [Example(f"e-{name}", name, "q", "t", "train") for name in ("both", "half", "dropped", "none")]


def test_a_pair_is_stale_when_any_of_its_evidence_is_gone():
    assert [found.id for found in stale_pairs(PAIRS, CHUNKS)] == ["gone", "half"]
    assert stale_pairs(PAIRS, [*CHUNKS, Chunk("c3", "d", 0, 1, "x", "")]) == []


def test_an_example_is_stale_with_its_pair_or_without_one():
    assert [found.id for found in stale_examples(EXAMPLES, PAIRS, CHUNKS)] == ["e-half", "e-dropped"]
