"""What was made from text that is no longer there: after a document was changed or deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ragtune_lib.records import Chunk, Example, QAPair
from ragtune_lib.stages import ADAPTER
from ragtune_lib.store import file_hash, read_records


@dataclass(frozen=True, slots=True)
class Stale:
    """What in a run folder rests on text that is gone."""

    pairs: tuple[QAPair, ...]
    all_pairs: int
    examples: tuple[Example, ...]
    all_examples: int
    adapter: str  # hash of the weights that were trained on such examples; "" where there are none

    def counts(self) -> dict[str, int | str]:
        """Figures for metrics.json."""
        return {
            "pairs": len(self.pairs),
            "of_pairs": self.all_pairs,
            "examples": len(self.examples),
            "of_examples": self.all_examples,
            "adapter": self.adapter,
        }


def stale_in(folder: Path) -> Stale:
    """Compare the pairs and the adapter of a run folder with its chunks, before they are made anew.

    Args:
        folder: with the chunks as they are now; what else is missing there counts as empty.

    Raises:
        FileNotFoundError: if there are no chunks.
        ValueError: if a file cannot be read, for instance one of an earlier version.
    """
    chunks = read_records(folder / "chunks.jsonl", Chunk)
    pairs, kept, examples = (
        read_records(folder / name, kind) if (folder / name).is_file() else []
        for name, kind in (("pairs.jsonl", QAPair), ("kept.jsonl", QAPair), ("examples.jsonl", Example))
    )
    old_pairs, weights = stale_pairs(pairs, chunks), folder / ADAPTER[0]
    old_examples = stale_examples(examples, kept, chunks)
    adapter = file_hash(weights) if old_examples and weights.is_file() else ""
    return Stale(tuple(old_pairs), len(pairs), tuple(old_examples), len(examples), adapter)


def told_stale(counts: dict[str, int | str]) -> str:
    """`Stale.counts` in words, "" when nothing is stale.

    >>> told_stale({"pairs": 2, "of_pairs": 9, "examples": 0, "of_examples": 0, "adapter": ""})
    '2 of 9 pairs rest on chunks that are gone'
    """
    told = []
    if counts["pairs"]:
        told.append(f"{counts['pairs']} of {counts['of_pairs']} pairs rest on chunks that are gone")
    if counts["adapter"]:
        taught = f"{counts['examples']} of {counts['of_examples']} examples"
        told.append(f"adapter {counts['adapter']} learnt such chunks ({taught}); it says it until it is trained again")
    return "; ".join(told)


def stale_pairs(pairs: Iterable[QAPair], chunks: Iterable[Chunk]) -> list[QAPair]:
    """Pairs that rest on a chunk which the corpus no longer has, in their order.

    The id of a chunk comes from its document's name and text and from its place, so what was made from a changed or
    renamed document, or from chunks of another size, is stale. A pair without evidence (one that declines) never is.

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
