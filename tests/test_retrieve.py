import math

import numpy as np
import pytest

from ragtune_lib.records import Chunk
from ragtune_lib.retrieve import KINDS, Retriever, recall_at_k

TEXTS = (
    "The boat sank in the harbour.",
    "Ilse baked plum bread for the harbour feast.",
    "Tomas repaired the organ.",
    "Rain fell for a week.",
)
AXES = ("boat", "bread", "organ", "rain")


def chunk(number: int, text: str) -> Chunk:
    return Chunk(f"c{number}", f"d{number}", 0, len(text), text, "")


CHUNKS = [chunk(number, text) for number, text in enumerate(TEXTS)]


def embed(texts):
    """One axis for each theme; a text about none of them lies evenly between all."""
    rows = np.array([[float(axis in text.lower()) for axis in AXES] for text in texts], dtype=np.float32)
    rows[rows.sum(axis=1) == 0] = 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ids(found):
    return [chunk.id for chunk in found]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_the_chunk_that_answers_first(kind):
    found = Retriever(CHUNKS, embed, kind).top(["Who repaired the organ?", "What did the bread taste of?"], 1)
    assert [ids(row) for row in found] == [["c2"], ["c1"]]


@pytest.mark.parametrize("kind", KINDS)
def test_more_chunks_than_there_are_gives_each_once(kind):
    found = Retriever(CHUNKS, embed, kind).top(["rain on the boat"], 99)
    assert sorted(ids(found[0])) == ["c0", "c1", "c2", "c3"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question", ["xyzzy plugh", "", "the of and"])
def test_a_question_without_any_known_word_gets_the_first_chunks(kind, question):
    assert ids(Retriever(CHUNKS, embed, kind).top([question], 2)[0]) == ["c0", "c1"]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_chunks_keep_their_order(kind):
    same = [chunk(number, TEXTS[2]) for number in range(6)]
    assert ids(Retriever(same, embed, kind).top(["organ"], 6)[0]) == [f"c{number}" for number in range(6)]


def test_hybrid_is_the_sum_of_reciprocal_ranks():
    # By words "harbour boat": c0 (both words), c1 (harbour), then c2, c3 in order. By meaning the stub says c3 first.
    def contrary(texts):
        return np.array([[0.1, 0.2, 0.3, 0.4][TEXTS.index(t)] if t in TEXTS else 1.0 for t in texts], dtype=np.float32)[
            :, None
        ]

    hybrid = Retriever(CHUNKS, contrary, "hybrid")
    by_hand = [1 / 61 + 1 / 64, 1 / 62 + 1 / 63, 1 / 63 + 1 / 62, 1 / 64 + 1 / 61]
    assert hybrid._scores(["harbour boat"])[0] == pytest.approx(by_hand)


def test_bm25_needs_no_embedder_and_dense_does():
    assert Retriever(CHUNKS, None, "bm25").top(["organ"], 1)[0][0].id == "c2"
    with pytest.raises(ValueError, match="embedder"):
        Retriever(CHUNKS, None, "dense")


def test_chunks_without_any_word_are_still_found():
    assert ids(Retriever([chunk(0, "..."), chunk(1, "")], None, "bm25").top(["organ"], 1)[0]) == ["c0"]


def test_one_chunk_is_enough():
    assert ids(Retriever(CHUNKS[:1], embed, "hybrid").top(["organ"], 3)[0]) == ["c0"]


def test_no_questions_give_no_lists():
    assert Retriever(CHUNKS, None, "bm25").top([], 3) == []


def test_bad_input_says_what_is_wrong():
    with pytest.raises(ValueError, match="no chunks"):
        Retriever([], embed, "bm25")
    with pytest.raises(ValueError, match="bm25, dense, hybrid"):
        Retriever(CHUNKS, embed, "sparse")
    with pytest.raises(ValueError, match="at least 1"):
        Retriever(CHUNKS, embed, "bm25").top(["organ"], 0)


def test_recall_counts_evidence_by_chunk_or_by_document_name():
    names = {"d0": "2025-01-04", "d1": "2025-01-12"}
    assert recall_at_k(CHUNKS[:2], ["c0", "c3"]) == 0.5
    assert recall_at_k(CHUNKS[:2], ["2025-01-12"], names) == 1.0
    assert recall_at_k(CHUNKS[2:], ["2025-01-12"], names) == 0.0
    assert math.isnan(recall_at_k(CHUNKS, []))
