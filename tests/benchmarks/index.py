"""What an index by a model costs beside its calls: time, CPU and memory of the whole process.

Run as a module it is that process: `python -m tests.benchmarks.index URL CACHE FOLDER DOCUMENTS`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .endpoint import LATENCY, WORKERS, server

ARTICLES = 40
FEW, MANY = 30, 120  # documents, to see how the CPU grows


def news(folder: Path) -> dict[str, Any]:
    """Index 40 articles through an endpoint, again without a change, and 30 and 120 of them.

    Args:
        folder: of the articles, at least 120 of them.

    Returns:
        For the 40: wall seconds of the whole process, ideal (requests x latency / workers), ratio, CPU seconds and
        peak MB, requests, and the seconds and requests of a second run; `cpu_few` and `cpu_many` for the others.
    """
    from tests import scripted_index

    with server(LATENCY, scripted_index.of_body) as url, TemporaryDirectory() as kept:
        found = _process(url, Path(kept, "news.sqlite"), folder, ARTICLES)
        again = _process(url, Path(kept, "news.sqlite"), folder, ARTICLES)
    with server(0.0, scripted_index.of_body) as url, TemporaryDirectory() as kept:
        few, many = (_process(url, Path(kept, f"{count}.sqlite"), folder, count) for count in (FEW, MANY))
    ideal = found["requests"] * LATENCY / WORKERS
    return {
        **found, "ideal": ideal, "ratio": found["seconds"] / ideal, "again": again["seconds"],
        "requests_again": again["requests"], "few": FEW, "many": MANY, "cpu_few": few["cpu"], "cpu_many": many["cpu"],
        "requests_few": few["requests"], "requests_many": many["requests"],
    }  # fmt: skip


def _process(url: str, cache: Path, folder: Path, documents: int) -> dict[str, Any]:
    """Wall and CPU seconds and peak MB of a process that indexes, and what it counted."""
    command = [sys.executable, "-m", "tests.benchmarks.index", url, str(cache), str(folder), str(documents)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise RuntimeError(f"the index ended with {status}: {said[-500:]}")
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024
    return {"seconds": seconds, "cpu": cpu, "peak_mb": peak, **json.loads(said.splitlines()[-1])}


def _words(text: str, **_: Any) -> dict[str, list[tuple[int, int]]]:
    """Stands in for a tokenizer, whose loading is not what is measured: words and signs, some 0.9 tokens each."""
    return {"offset_mapping": [found.span() for found in re.finditer(r"\w+|[^\w\s]", text)]}


def main() -> None:
    """Index some documents of a folder, print what was found as JSON."""
    from ragtune_lib.documents import chunk_documents, read_documents
    from ragtune_lib.graph.index import index_chunks
    from ragtune_lib.llm import open_model

    url, cache, folder, count = sys.argv[1:]
    documents = read_documents(Path(folder))[0][: int(count)]
    model = open_model(f"{url}:m", Path(cache), workers=WORKERS)
    chunks = chunk_documents(documents, _words, 540, 90)  # some 600 and 100 tokens
    entities, relationships, communities, problems = index_chunks(model, chunks)
    found = {
        "documents": len(documents), "chunks": len(chunks), "requests": model.meter.requests,
        "entities": len(entities), "relationships": len(relationships), "communities_n": len(communities),
        "problems": len(problems),
    }  # fmt: skip
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
