"""Curation at size: what a person waits for with 100,000 pairs, and whether memory grows with what is exported."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragtune_lib.curate import Curation
from ragtune_lib.curation.events import as_line, pair_hash
from ragtune_lib.curation.exports import Row, export_dataset, export_jsonl
from ragtune_lib.curation.queues import Filter, matching, ordered
from ragtune_lib.records import Chunk, Decision, Flag, QAPair
from ragtune_lib.store import append_records, content_id

from .measures import peak_mb

WORDS = [f"word{number}" for number in range(5000)]


def curation(count: int = 100_000) -> dict[str, Any]:
    """Seconds of what the panel asks for, with as many pairs as events, of three people.

    Args:
        count: pairs, and decisions about them.

    Returns:
        Seconds to open, of a decision with fsync (median and worst of 200), of counts, of searches and filters, of
        orders, of a bulk decision about half of the pairs and its undo; MB before opening and at the peak.
    """
    rng = random.Random(17)
    pairs = [_pair(rng, number) for number in range(count)]
    chunks = [Chunk(f"c{number}", f"d{number // 10}", 0, 1, "x", "") for number in range(count // 10)]
    flags = [
        Flag(pair.id, "number", "not in the evidence: 7", number % 2 == 0) for number, pair in enumerate(pairs[::9])
    ]
    with TemporaryDirectory() as name:
        folder = Path(name)
        for place, who in enumerate(("ada", "bob", "carol")):
            append_records(folder / f"decisions-{who}.jsonl", map(as_line, _events(pairs[place::3], who)))
        before = peak_mb()
        found: dict[str, Any] = {"pairs": count, "input_mb": before}
        found |= _timed("open", lambda: Curation(folder, pairs, flags, "dan", chunks))
        review = Curation(folder, pairs, flags, "dan", chunks)
        decisions = [_seconds(lambda one=pair: review.decide(one.id, "keep")) for pair in pairs[:200]]
        found |= {"decide": statistics.median(decisions), "decide_worst": max(decisions)}
        found["counts"] = _seconds(review.counts)
        found |= _timed("search_first", lambda: matching(review, Filter(text="word17 word4")))
        found |= _timed("search", lambda: matching(review, Filter(text="word17 word4")))
        filters = (Filter(status="drop"), Filter(check="number"), Filter(document="d7"), Filter(reviewer="bob"))
        timed = [_timed("filter", lambda one=one: matching(review, one)) for one in filters]
        found |= max(timed, key=lambda one: one["filter_cpu"])
        for order in ("undecided", "worst", "random", "document", "similar"):
            found |= _timed(f"order_{order}", lambda order=order: ordered(review, list(review.pairs), order))
        found |= _timed("bulk", lambda: review.bulk([pair.id for pair in pairs[::2]], "drop"))
        found |= _timed("undo", review.undo)
    return found | {"peak_mb": peak_mb()}


def exports(count: int = 260_000) -> dict[str, Any]:
    """Seconds and memory of a dataset and of JSON Lines; rows are made as they are written.

    Args:
        count: rows; a tenth of them first, to see whether memory grows.
    """
    found: dict[str, Any] = {"rows": count}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for rows, suffix in ((count // 10, "_tenth"), (count, "")):
            found[f"dataset{suffix}"] = _seconds(lambda rows=rows: export_dataset(folder / "data", _rows(rows)))
            found[f"jsonl{suffix}"] = _seconds(
                lambda rows=rows: export_jsonl(folder / "x.jsonl", _rows(rows), "chatml")
            )
            found[f"peak_mb{suffix}"] = peak_mb()
        found["written_mb"] = round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)
    return found


def _timed(name: str, call: Callable[[], Any]) -> dict[str, float]:
    """Seconds by the clock, and of the processor: on a busy machine only the latter says something."""
    cpu = time.process_time()
    seconds = _seconds(call)
    return {name: seconds, f"{name}_cpu": time.process_time() - cpu}


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _pair(rng: random.Random, number: int) -> QAPair:
    question, reasoning, answer = (" ".join(rng.choices(WORDS, k=size)) for size in (12, 60, 25))
    pair_id = content_id(number)
    return QAPair(pair_id, "local", "sentence", question, reasoning, answer, (f"c{number // 10}",), "template", "f")


def _events(pairs: list[QAPair], reviewer: str) -> Iterator[Decision]:
    for number, pair in enumerate(pairs):
        at = f"2026-01-{number // 43200 + 1:02}T{number // 3600 % 12:02}:{number // 60 % 60:02}:{number % 60:02}+00:00"
        action = ("keep", "keep", "drop", "flag")[number % 4]
        yield Decision(pair.id, action, "", "", "", "", reviewer, at, content_id(reviewer, number), pair_hash(pair))


def _rows(count: int) -> Iterator[Row]:
    rng = random.Random(17)
    for number in range(count):
        question, reasoning, answer = (" ".join(rng.choices(WORDS, k=size)) for size in (12, 60, 25))
        target = f"{reasoning}\n\n{answer}"
        yield Row(
            f"{number:016x}", "local", "sentence", question, reasoning, answer, target, (f"c{number // 10}",),
            f"f{number // 4}", "template", "keep", "ada",
        )  # fmt: skip
