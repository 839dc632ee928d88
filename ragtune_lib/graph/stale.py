"""What was made from text that is no longer there: after a document was changed or deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ragtune_lib.records import Chunk, Example, QAPair


def stale_pairs(pairs: Iterable[QAPair], chunks: Iterable[Chunk]) -> list[QAPair]:
    """Pairs that rest on a chunk which the corpus no longer has, in their order.

    The id of a chunk comes from its document's text, so a changed document makes stale what was made from it. A pair
    without evidence (one that declines to answer) never is.

    Args:
        pairs: e.g. those that a model was trained on.
        chunks: of the corpus as it is now.
    """
    known = {chunk.id for chunk in chunks}
    return [pair for pair in pairs if not known.issuperset(pair.evidence_ids)]


def stale_examples(examples: Iterable[Example], pairs: Sequence[QAPair], chunks: Iterable[Chunk]) -> list[Example]:
    """Examples that teach what a stale pair says, or a pair that is gone, in their order.

    An adapter knows what its `examples.jsonl` says: if one of these is stale, so is the adapter.

    Args:
        examples: that an adapter was trained on.
        pairs: as they are now, or as they were then.
        chunks: of the corpus as it is now.
    """
    good = {pair.id for pair in pairs} - {pair.id for pair in stale_pairs(pairs, chunks)}
    return [example for example in examples if example.pair_id not in good]
