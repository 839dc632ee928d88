"""Measure, print one Markdown table, keep all figures in outputs/bench.json."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ragtune_lib.store import ROOT, write_json

from . import curation, endpoint, extraction, graph_view, index, judging, measures, million, training

PEPYS = Path("journal_pepys", "entries_1660_1665.jsonl")
NEWS = Path("news_changelog", "docs.jsonl")
BUSY = 0.5  # load of the last minute from which something else must be running


def main() -> int:
    """Entry point.

    Returns:
        0, or 1 when a measurement failed; the others are reported all the same.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help=f"public data sets; with {PEPYS}, {NEWS} or {extraction.GUM} below it, graph, index and names are measured",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these alone; the others are not run")
    asked = parser.parse_args()
    started, load = time.perf_counter(), os.getloadavg()[0]
    if load > BUSY:
        _say(f"load {load:.1f}: something else is running, so these figures are too low")
    figures: dict[str, Any] = {"load": load}
    steps = plan(asked.data)
    if unknown := set(asked.only or ()) - {name for name, *_ in steps}:
        parser.error(f"no measurement {min(unknown)!r}; there are {', '.join(name for name, *_ in steps)}")
    for name, measure, *arguments in (step for step in steps if not asked.only or step[0] in asked.only):
        _say(f"{name} ...")
        figures[name] = in_fresh_process(measure, *arguments)
    figures["seconds"] = time.perf_counter() - started
    file = Path(os.environ.get("RAGTUNE_OUTPUTS") or ROOT / "outputs") / "bench.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, figures)
    _say(table(figures))
    _say(f"\n{figures['seconds']:.0f} s in all; every figure: {file}")
    return int(any("error" in found for found in figures.values() if isinstance(found, dict)))


def plan(data: Path | None) -> list[tuple]:
    """What to measure, in order: name, function, arguments."""
    steps: list[tuple] = [
        ("imports", measures.imports),
        ("endpoint", endpoint.overhead),
        ("kept", endpoint.kept),
        ("judging", judging.judging),
        ("million", million.million_edges),
        ("graph_view", graph_view.graph_view),
        ("curation", curation.curation),
        ("exports", curation.exports),
        ("machine", measures.ceilings),
        ("training_unsloth", training.training, "unsloth"),
        ("training_peft", training.training, "peft"),
        ("generation", measures.generation),
    ]
    at_size = (("graph", measures.graph_at_size, PEPYS), ("index", index.news, NEWS))
    for name, measure, file in (*at_size, ("extraction", extraction.extraction, extraction.GUM)):
        if data and (data / file).is_file():
            steps.append((name, measure, data / file if name == "extraction" else (data / file).parent))
        elif data:
            _say(f"{data / file} is not there: no {name} at size")
    return steps


def in_fresh_process(measure: Callable[..., dict], *arguments: Any) -> dict:
    """Result of a measurement in a new interpreter: memory starts at nothing, and Unsloth may patch what it likes.

    A measurement that fails gives {"error": why}.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, *arguments).result()
        except (RuntimeError, OSError, ValueError) as error:  # a killed process is a RuntimeError too
            return {"error": f"{type(error).__name__}: {error}"}


def table(figures: Mapping[str, Any]) -> str:
    """The figures as a Markdown table, each beside what it is compared with."""
    lines = ["", "| what | measured | compared with | ratio |", "| --- | --- | --- | --- |"]
    for name, rows in ROWS.items():
        if "error" in figures.get(name, {}):
            lines.append(f"| {name} | failed: {figures[name]['error'].splitlines()[0]} | | |")
        elif name in figures:
            lines += [f"| {' | '.join(row)} |" for row in rows(figures[name])]
    return "\n".join(lines)


def _imports(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    bare = f"empty interpreter {found['bare']:.3f} s"
    note = f"{found['package']:.3f} s (median {found['package_median']:.3f})"
    yield "`import ragtune_lib`", note, bare, f"{found['package'] / found['bare']:.2f}"
    slowest = f"`import ragtune_lib.{found['slowest_module']}`, the slowest module"
    yield slowest, f"{found['slowest']:.3f} s", bare, f"{found['slowest'] / found['bare']:.2f}"


def _machine(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    shape = " x ".join(map(str, measures.PRODUCT))
    both = f"{found['bfloat16']:.0f} GFLOP/s", f"fp32 {found['float32']:.0f} GFLOP/s"
    yield f"matrix product {shape} in bf16", *both, f"{found['bfloat16'] / found['float32']:.2f}"


def _endpoint(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    what = f"{found['calls']} calls to an endpoint, {endpoint.LATENCY:.1f} s each, {endpoint.WORKERS} at a time"
    took = f"{found['seconds']:.2f} s, {found['cpu']:.1f} s CPU, {found['peak_mb']} MB"
    yield what, took, f"the endpoint alone {found['ideal']:.2f} s", f"{found['ratio']:.3f}"


def _kept(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    many = f"of {found['many']}: {found['per_second_many']:.0f}/s"
    yield f"kept replies, of {found['few']}", f"{found['per_second']:.0f}/s", many, ""
    growth = found["mb_many"] / found["mb_few"]
    yield "memory for them", f"{found['mb_few']} MB", f"of {found['many']}: {found['mb_many']} MB", f"{growth:.2f}"


def _judging(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    what = f"{found['calls']} calls of a judge, without the model"
    took = f"{found['seconds']:.1f} s, {found['cpu_ms']:.2f} ms CPU a call, {found['peak_mb']} MB"
    yield what, took, f"statistics of {found['questions']} questions {found['statistics']:.1f} s", ""
    names = (("raw", "in both orders"), ("controlled", "length-controlled"), ("published", "as published"))
    for name, words in names:
        error = found[f"error_{name}"]
        note = f"as published {found['error_published']:.3f}"
        yield (
            f"simulated judge: error of the win rate {words}",
            f"{error:.3f}",
            note,
            (f"{error / found['error_published']:.2f}"),
        )


def _training(backend: str) -> Callable[[Mapping[str, Any]], Iterator[tuple[str, ...]]]:
    def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
        needed = f"{found['operations'] / 1e6:.0f} MFLOP a token"
        limit = f"{found['attainable']:.0f} at {found['ceiling']:.0f} GFLOP/s and {needed}"
        rate = f"{found['tokens_per_second']:.0f} tokens/s, {found['peak_mb']} MB"
        yield f"fine-tuning, {backend}", rate, limit, f"{found['share']:.2f}"
        if backend == "unsloth":
            here = f"{found['padding']:.1%} in {found['tokens']} tokens"
            yield "padding in a training run", f"{found['padding_all']:.1%}", f"{here} of this measurement", ""

    return rows


def _generation(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    batched = f"{found['batched']:.0f} tokens/s ({found['batched_n']} questions)"
    alone = f"one by one {found['alone']:.0f} tokens/s ({found['alone_n']})"
    yield "generation in batches", batched, alone, f"{found['batched'] / found['alone']:.1f}"
    peer = f"{found['transformers']:.0f} tokens/s (transformers)"
    yield "generation in batches", batched, peer, f"{found['batched'] / found['transformers']:.1f}"
    shared = f"{found['prefix']:.1f} s a question ({found['prefix_n']}, {found['prefix_tokens']} tokens read once)"
    plain = f"read anew {found['plain']:.1f} s ({found['plain_n']}; {found['same_text']} the same text)"
    yield "the whole journal in the window", shared, plain, f"{found['plain'] / found['prefix']:.1f}"


def _graph(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    counts = (
        f"{found['entities']} entities, {found['relationships']} relationships, {found['communities_n']} communities"
    )
    speed = f"{found['words'] / found['seconds']:.0f} words/s, {found['peak_mb']} MB"
    yield f"graph of {found['words']} words", f"{found['seconds']:.1f} s", counts, speed


def _index(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    what = f"index of {found['documents']} articles, {found['chunks']} chunks, {found['requests']} calls"
    took = f"{found['seconds']:.1f} s, {found['cpu']:.1f} s CPU, {found['peak_mb']} MB"
    yield what, took, f"the endpoint alone {found['ideal']:.1f} s", f"{found['ratio']:.2f}"
    calls = f"{found['requests_again']} calls"
    yield "the same again", f"{found['again']:.1f} s, {calls}", f"first run {found['seconds']:.1f} s", ""
    few, many = (f"{found[f'cpu_{name}']:.1f} s CPU ({found[name]} documents)" for name in ("few", "many"))
    yield "index of four times the documents", many, few, f"{found['cpu_many'] / found['cpu_few']:.1f}"


def _million(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    counts = f"{found['entities']} entities, {found['communities_n']} communities in {found['levels']} levels"
    steps = ", ".join(f"{step} {found[step]:.0f}" for step in ("merge", "communities", "save"))
    took = f"{found['seconds']:.0f} s ({steps}), {found['peak_mb']} MB"
    yield f"graph of {found['relationships']} edges, saved", took, counts, ""


def _graph_view(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    took = f"{found['overview']:.1f} s ({found['overview_cpu']:.1f} s CPU), {found['peak_mb']} MB"
    counts = f"{found['entities']} entities, {found['relationships']} relationships; loaded {found['loaded_mb']} MB"
    yield "overview of a large graph, index included", took, counts, ""
    for name, seconds in found["slowest"].items():
        cpu = f"{found['slowest_cpu'][name]:.2f} s CPU"
        yield (
            f"... {name.replace('_', ' ')}, the slowest",
            f"{seconds:.2f} s, {cpu}",
            f"median {found['median'][name]:.2f} s",
            "",
        )


def _curation(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    def told(name: str) -> str:
        return f"{1000 * found[name]:.0f} ms ({1000 * found[f'{name}_cpu']:.0f} ms CPU)"

    memory = f"{found['peak_mb']} MB, {found['input_mb']} MB of them before"
    yield f"curation of {found['pairs']} pairs and as many events, opened", told("open"), memory, ""
    worst = f"worst of 200: {1000 * found['decide_worst']:.1f} ms"
    yield "a decision, on the disk", f"{1000 * found['decide']:.1f} ms", worst, ""
    yield "a search in all pairs", told("search"), f"the first one {told('search_first')}", ""
    yield "the slowest filter", told("filter"), f"counts {1e6 * found['counts']:.0f} \u00b5s", ""
    yield "order by findings", told("order_worst"), f"similar questions together {told('order_similar')}", ""
    yield "a bulk decision about half of them", told("bulk"), f"its undo {told('undo')}", ""


def _exports(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    took = f"dataset {found['dataset']:.1f} s, JSON Lines {found['jsonl']:.1f} s, {found['peak_mb']} MB"
    tenth = f"a tenth of them {found['peak_mb_tenth']} MB"
    yield f"export of {found['rows']} rows", took, tenth, f"{found['peak_mb'] / found['peak_mb_tenth']:.2f}"


def _extraction(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    score = f"F1 {found['f1']:.3f}, precision {found['precision']:.3f}, recall {found['recall']:.3f}"
    genres = ", ".join(f"{genre} {f1:.3f}" for genre, f1 in found["f1_by_genre"].items())
    yield f"names found by rules in {found['documents']} documents", score, f"{found['demanded']} gold names", genres


ROWS: dict[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, ...]]]] = {
    "imports": _imports,
    "endpoint": _endpoint,
    "kept": _kept,
    "judging": _judging,
    "million": _million,
    "graph_view": _graph_view,
    "curation": _curation,
    "exports": _exports,
    "machine": _machine,
    "training_unsloth": _training("unsloth"),
    "training_peft": _training("peft"),
    "generation": _generation,
    "graph": _graph,
    "index": _index,
    "extraction": _extraction,
}


def _say(text: str) -> None:
    """Print at once: a measurement may take a minute."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
