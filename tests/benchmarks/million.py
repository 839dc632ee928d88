"""A graph of a million edges: how long merging, communities and saving take, and how much memory."""

from __future__ import annotations

import random
import tempfile
import time
from bisect import bisect
from collections import Counter
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from ragtune_lib.records import Chunk, Mention

from .measures import peak_mb

NAMES = 100_000
EDGES = 1_000_000
TOPIC = 400  # names that one document may speak of, besides those that all speak of
SENTENCES = 12  # in a chunk
EVERYWHERE = 0.1  # share of the mentions that come from the whole corpus' names


def million_edges(names: int = NAMES, edges: int = EDGES) -> dict[str, Any]:
    """Seconds from mentions to files of a graph that is as uneven as real ones, and the process's peak memory.

    Each chunk speaks of one topic; inside a topic, and over the whole corpus, the names are mentioned by Zipf's law
    (the n-th 1/n as often as the first). So a few names have thousands of links, most have a handful. The input is made
    until it holds the wanted number of edges, and is not timed.

    Args:
        names: different names in the corpus.
        edges: different pairs of names that share a sentence.
    """
    from ragtune_lib.graph.build import build_graph, detect_communities
    from ragtune_lib.store import write_records

    mentions, chunks = made_mentions(names, edges)
    input_mb, cpu, times = peak_mb(), time.process_time(), [time.perf_counter()]
    entities, relationships = build_graph(mentions, chunks)
    times.append(time.perf_counter())
    communities = detect_communities(entities, relationships)
    times.append(time.perf_counter())
    with tempfile.TemporaryDirectory() as folder:
        files = {"entities": entities, "relationships": relationships, "communities": communities}
        for name, records in files.items():
            write_records(Path(folder, f"{name}.jsonl"), records)
        written = sum(file.stat().st_size for file in Path(folder).iterdir())
    times.append(time.perf_counter())
    steps = [later - earlier for earlier, later in pairwise(times)]
    cpu = time.process_time() - cpu
    degree = Counter(end for link in relationships for end in (link.source, link.target))
    return {
        **dict(zip(("merge", "communities", "save"), steps, strict=True)),
        "seconds": times[-1] - times[0],
        "cpu": cpu,
        "mentions": len(mentions),
        "entities": len(entities),
        "relationships": len(relationships),
        "communities_n": len(communities),
        "levels": max(community.level for community in communities) + 1,
        "most_links": max(degree.values()),
        "median_links": sorted(degree.values())[len(degree) // 2],
        "written_mb": round(written / 1e6),
        "input_mb": input_mb,
        "peak_mb": peak_mb(),
    }


def made_mentions(names: int, edges: int, seed: int = 17) -> tuple[list[Mention], list[Chunk]]:
    """Mentions of invented names with about the wanted number of different pairs, and their chunks."""
    rng = random.Random(seed)
    spelled = [f"N{number:x} {_surname(number)}" for number in range(names)]
    rng.shuffle(spelled)
    topics = [spelled[start : start + TOPIC] for start in range(0, names, TOPIC)]
    weights = list(accumulate(1 / rank for rank in range(1, names + 1)))

    def draw(among: list[str]) -> str:
        return among[min(bisect(weights, rng.random() * weights[len(among) - 1]), len(among) - 1)]

    pairs: set[tuple[str, str]] = set()
    mentions: list[Mention] = []
    chunks: list[Chunk] = []
    while len(pairs) < edges:
        topic, chunk_id = topics[len(chunks) % len(topics)], f"{len(chunks):016x}"
        chunks.append(Chunk(chunk_id, f"d{len(chunks) // 4}", 0, 1200, "", "2025-03-09"))
        for place in range(SENTENCES):
            among = [spelled if rng.random() < EVERYWHERE else topic for _ in range(rng.randint(1, 5))]
            named = sorted({draw(group) for group in among})
            text = f"Then {' and '.join(named)} met again, as they had on the day before, and stayed until it was dark."
            start = len(chunks) % 4 * 1200 + place * 100
            mentions += [Mention(name, "name", text, chunk_id, start) for name in named]
            pairs.update((left, right) for left in named for right in named if left < right)
    return mentions, chunks


def _surname(number: int) -> str:
    """A word of letters alone, different for each number, so that no name is a part of another."""
    letters = ""
    while number or not letters:
        number, digit = divmod(number, 20)
        letters += "bcdfghjklmnpqrstvwxz"[digit] + "aeiou"[digit % 5]
    return letters.capitalize()
