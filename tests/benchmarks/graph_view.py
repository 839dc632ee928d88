"""A graph of a million edges on the screen: how long the overview takes after loading, and each step into it."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from .measures import peak_mb
from .million import EDGES, NAMES, made_mentions

STEPS = 20  # entities and communities that are looked at, half of them the largest


def graph_view(names: int = NAMES, edges: int = EDGES) -> dict[str, Any]:
    """Seconds for the overview and for each kind of step, drawing included, on the graph of `million.million_edges`.

    Loaded is what the notebook holds: records. Of each step the slowest counts, since that is what a person waits for.

    Args:
        names: different names in the corpus.
        edges: different pairs of names that share a sentence.
    """
    from ragtune_lib.graph.build import build_graph, detect_communities

    mentions, chunks = made_mentions(names, edges)
    entities, relationships = build_graph(mentions, chunks)
    del mentions
    return measured(entities, relationships, detect_communities(entities, relationships), chunks)


def measured(entities: list, relationships: list, communities: list, chunks: list, seed: int = 17) -> dict[str, Any]:
    """The figures of one graph."""
    import networkx  # noqa: F401  notebook 02 has it loaded by then

    from ragtune_lib.graph.edits import corrections
    from ragtune_lib.graph.overview import Filter, GraphIndex
    from ragtune_lib.graph.views import View, picture
    from ragtune_lib.records import GraphEdit

    loaded_mb, start, cpu = peak_mb(), time.perf_counter(), time.process_time()
    index = GraphIndex(entities, relationships, communities, chunks)
    indexed = time.perf_counter() - start
    picture(index, View("overview"))
    overview, overview_cpu = time.perf_counter() - start, time.process_time() - cpu
    rng = random.Random(seed)
    best = [entity.id for entity in index.best_connected(limit=STEPS // 2).entities]
    some = best + [entity.id for entity in rng.sample(entities, STEPS // 2)]
    sizes = sorted(communities, key=lambda one: -len(one.entity_ids))
    groups = [one.id for one in sizes[: STEPS // 2] + rng.sample(communities, STEPS // 2)]
    document, day = Filter(document=chunks[0].document_id), Filter(since="2025-03-09", until="2025-03-09")
    first = index.links[0]
    events = [GraphEdit(best[0], "rename", "Anna"), GraphEdit(best[1], "delete"), GraphEdit(first.id, "unlink")]
    steps: dict[str, list[Callable[[], object]]] = {
        "community": [lambda one=one: picture(index, View("community", one)) for one in groups],
        "near": [lambda one=one: picture(index, View("near", one)) for one in some],
        "near_2": [lambda one=one: picture(index, View("near", one, 2)) for one in some],
        "search": [lambda one=one: index.search(index.entity(one).name[:4]) for one in some],
        "relations": [lambda one=one: index.relations(one) for one in some],
        "one_document": [lambda: picture(index, View("overview", wanted=document))],
        "all_of_a_day": [lambda: picture(index, View("overview", wanted=day))],
        "next_level": [lambda: picture(index, View("overview", level=1))],
        "correction": [lambda: index.corrected(corrections(events)).degree],
    }
    slowest, slowest_cpu, median = {}, {}, {}
    for name, calls in steps.items():
        times = [_seconds(call) for call in calls]
        slowest[name], slowest_cpu[name] = (max(column) for column in zip(*times, strict=True))
        median[name] = statistics.median(wall for wall, _ in times)
    return {
        "entities": len(entities),
        "relationships": len(relationships),
        "communities_n": len(communities),
        "index": indexed,
        "overview": overview,
        "overview_cpu": overview_cpu,
        "slowest": slowest,
        "slowest_cpu": slowest_cpu,
        "median": median,
        "loaded_mb": loaded_mb,
        "peak_mb": peak_mb(),
    }


def _seconds(call: Callable[[], object]) -> tuple[float, float]:
    """On the clock, and of the processor."""
    start, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - cpu
