"""The console command `ragtune`: a run file, papermill over the notebooks, metrics.json and one HTML page.

`run_report` goes through the stages in order. A stage whose key and files are as recorded in run.json is left alone;
any other is executed by papermill, and recorded as done only after all its files are there. So a second run redoes
nothing, a changed parameter redoes what depends on it, and a run killed anywhere continues: the stages keep their own
finished work. What could be a typing mistake is checked before the first stage starts.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ragtune_lib.graph.stale import stale_in, told_stale
from ragtune_lib.llm.calls import OPENAI_KEY, parse_spec
from ragtune_lib.runfile import NOTEBOOKS, Run, input_hashes, project_path, read_run_file, stage_parameters
from ragtune_lib.stages import ADAPTER, DECISIONS, STAGES, Stage, hashes, holds, module_hashes, stage_key
from ragtune_lib.store import ROOT, content_id, read_lines, run_folder, write_json, write_records, write_text
from ragtune_lib.trust import sign

PACKAGES = ("ragtune", "torch", "transformers", "trl", "peft", "unsloth", "datasets", "sentence-transformers", "bm25s")
REPORT_FILES = ("metrics.json", "report.html")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `ragtune`.

    Returns:
        0 when the report is written, the plan is told or curation has ended, 1 when a stage failed, 2 for a mistake in
        what was asked for.
    """
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "curate":
            from ragtune_lib.curate_app import serve

            return serve(arguments.run, arguments.reviewer, _say)
        if arguments.command == "plan":
            from ragtune_lib.plan import told_plan

            text, whole = told_plan(asked_run(arguments), _say)
            _say(text)
            return int(not whole)
        return run_report(asked_run(arguments))
    except ValueError as error:
        return _say(f"error: {error}", 2)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _say("error: the disk is full. Nothing half-written counts as done: make room and run it again.", 1)
        return _say(f"error: {error}", 2 if isinstance(error, FileNotFoundError | NotADirectoryError) else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ragtune", description="Documents to a tuned memory and a win-rate report.")
    commands = parser.add_subparsers(required=True, dest="command")
    for name, what in (
        ("report", "run the notebooks and write report.html"),
        ("plan", "say whether a run file works and what its models will cost; nothing is sent, nothing is trained"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("run_file", nargs="?", type=Path, metavar="RUNFILE", help="e.g. notebooks/runs/news.yaml")
        command.add_argument("--documents", type=Path, metavar="FOLDER", help="your own files")
        command.add_argument("--graphrag", type=Path, metavar="FOLDER", help="an index of GraphRAG instead of files")
        command.add_argument("--questions", type=Path, metavar="FILE", help="held-out questions; generated without it")
        command.add_argument("--run", metavar="NAME", help="folder under outputs/")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NOTEBOOK.PARAMETER=VALUE",
            help="e.g. 05_finetune.epochs=2; what is not set keeps the notebook's own default",
        )
    what = "decide about a run's pairs in a browser, without a notebook"
    curate = commands.add_parser("curate", help=what, description=f"{what}; Ctrl+C ends it")
    curate.add_argument("run", metavar="RUN", help="folder under outputs/, e.g. journal")
    curate.add_argument("--reviewer", default="", metavar="NAME", help="who decides; needed where several do")
    return parser


def asked_run(arguments: argparse.Namespace) -> Run:
    """The run file with the options of the command line over it.

    Raises:
        ValueError: if neither names a source and a run, or a setting has no value.
    """
    given = {name: getattr(arguments, name) for name in ("documents", "graphrag", "questions")}
    options: dict[str, Any] = {name: project_path(path) for name, path in given.items() if path is not None}
    if {"documents", "graphrag"} & set(options):  # what the run file names as its source is not meant any more
        options = {"documents": "", "graphrag": ""} | options
    if arguments.run:
        options["run"] = arguments.run
    if arguments.run_file:
        run = replace(read_run_file(arguments.run_file), **options)
    elif {"documents", "run"} <= set(options):
        run = Run(**options)
    else:
        raise ValueError("name a run file, or --documents (or --graphrag) FOLDER together with --run NAME")
    notebooks = {name: dict(values) for name, values in run.notebooks.items()}
    for setting in arguments.set:
        name, value = _setting(setting)
        notebook, parameter = name.split(".", 1)
        notebooks.setdefault(notebook, {})[parameter] = value
    return replace(run, notebooks=notebooks)


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise ValueError(f"--set {text}: write NOTEBOOK.PARAMETER=VALUE, e.g. 05_finetune.epochs=2")
    return name, yaml.safe_load(value) if value else ""


def run_report(run: Run, notebooks: Path = NOTEBOOKS, stages: Sequence[Stage] = STAGES) -> int:
    """Bring every stage of a run up to date, then metrics.json and report.html.

    Args:
        run: What to run.
        notebooks: Folder of the notebooks; also their working directory.
        stages: In order; each may read what those before it wrote.

    Returns:
        0, or 1 when a stage failed (the stages before it stay done).

    Raises:
        ValueError, FileNotFoundError: for a mistake in what was asked for; nothing was started then.
    """
    parameters = stage_parameters(run, notebooks, stages)
    inputs = input_hashes(run)
    folder = run_folder(run.run)
    with locked(folder):
        state = _read_state(folder)
        for note in missing_keys(parameters):
            _say(note)
        for stage in stages:
            notebook = notebooks / f"{stage.name}.ipynb"
            key = stage_key(stage, notebook, parameters[stage.name], folder, inputs)
            done = holds(state["stages"].get(stage.name), key, stage, folder)
            if done:
                _say(f"{stage.name:<16} unchanged")
            else:
                state |= _provenance(run, parameters, inputs)
                if not _run_stage(stage, key, notebook, parameters[stage.name], folder, state):
                    return 1
            if "chunks.jsonl" in stage.writes:
                _tell_stale(folder, state, not done)
        _finish(folder, state, stages)
    return 0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for one process; the lock ends with the process, however that ends.

    Raises:
        ValueError: if another process holds it.
    """
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another `ragtune report` is at work in {folder}: wait for it, or use --run") from error
        yield


def missing_keys(parameters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What to say about models of OpenAI without a key: no error, since a run whose replies are kept needs none."""
    specs = {values.get(name, "") for values in parameters.values() for name in ("teacher", "judge", "reader")}
    wanted = sorted(spec for spec in specs if spec and parse_spec(spec).key_variable == OPENAI_KEY)
    if not wanted or os.environ.get(OPENAI_KEY, "").strip():
        return []
    return [f"note: {OPENAI_KEY} is not set; a stage that has to ask {' or '.join(wanted)} will stop there"]


def _read_state(folder: Path) -> dict[str, Any]:
    """run.json as far as it can be used; without it every stage is looked at as if it had never run."""
    try:
        state = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return state if isinstance(state["stages"], dict) else {"stages": {}}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {"stages": {}}


def _run_stage(stage: Stage, key: str, notebook: Path, values: dict, folder: Path, state: dict[str, Any]) -> bool:
    """Execute one stage and record how it ended; False when it failed."""
    for part in ("notebooks", "problems", "metrics"):
        (folder / part).mkdir(exist_ok=True)
    output = folder / "notebooks" / notebook.name
    record = {"status": "running", "key": key, "started": _now(), "notebook": f"notebooks/{notebook.name}"}
    state["stages"][stage.name] = record
    write_json(folder / "run.json", state)
    _say(f"{stage.name:<16} ...")
    begin = time.monotonic()
    failure = execute(notebook, output, values)
    missing = [name for name, digest in hashes(folder, stage.outputs).items() if not digest]
    if not failure and missing:
        failure = f"the notebook ended without writing {', '.join(missing)}"
    record |= {"ended": _now(), "seconds": round(time.monotonic() - begin, 1), "peak_mb": peak_memory_mb()}
    if failure:
        record |= {"status": "failed", "error": failure}
    else:
        counts = json.loads((folder / f"metrics/{stage.name}.json").read_text(encoding="utf-8"))
        record |= {"status": "done", "files": hashes(folder, stage.outputs), "counts": counts}
    write_json(folder / "run.json", state)
    if failure:
        _say(
            f"{stage.name:<16} FAILED after {record['seconds']} s\n{failure}\nThe notebook as far as it came: {output}"
        )
    else:
        shown = ", ".join(f"{name} {counts[name]}" for name in ("in", "out", "problems") if name in counts)
        _say(f"{stage.name:<16} {record['seconds']:>7.1f} s   {shown}")
    return not failure


def _tell_stale(folder: Path, state: dict[str, Any], anew: bool) -> None:
    """Say what of an earlier run rests on text that is gone: once the documents changed, until it is trained again.

    The pairs are kept in stale.jsonl, since pairs.jsonl is about to be written anew.
    """
    if anew and (folder / "pairs.jsonl").is_file():
        try:
            found = stale_in(folder)
        except ValueError as error:
            _say(f"note: what rests on text that is gone is not known: {error}")
            return
        write_records(folder / "stale.jsonl", found.pairs)
        state["stale"] = found.counts()
        write_json(folder / "run.json", state)
    counts = state.get("stale")
    if counts and not anew:  # told before; since then the pairs were made again, and perhaps the adapter
        still = counts["adapter"] in hashes(folder, ADAPTER).values()
        counts = counts | {"pairs": 0} if still else None
    if counts and (told := told_stale(counts)):
        _say(f"note: {told}" + (f"; see {folder / 'stale.jsonl'}" if counts["pairs"] else ""))


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> str:
    """Run one notebook by papermill in its own folder and keep the executed copy, trusted by JupyterLab.

    What the cells print appears on the terminal as it comes. Charts are stored as plotly's own format, which JupyterLab
    draws; the report draws its charts itself.

    Returns:
        "" on success, else what failed: the error's last line and the cell.
    """
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"  # inherited by the kernel
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    try:
        papermill.execute_notebook(
            notebook,
            output,
            dict(parameters),
            kernel_name="python3",
            cwd=notebook.parent,
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            start_timeout=180,  # seconds; a busy laptop needs more than the default minute
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),  # or ipykernel warns at each start
        )
    except papermill.PapermillExecutionError as error:
        _trust(output)  # a failed notebook is the one that is opened
        cell = "\n".join(f"    {line}" for line in error.source.strip().splitlines()[:8])
        return f"{error.ename}: {error.evalue}\nin cell [{error.exec_count}]:\n{cell}"
    except DeadKernelError as error:
        return f"the kernel died ({error}); the usual cause is too little memory"
    except KeyboardInterrupt:
        return "interrupted"
    _trust(output)
    return ""


def _trust(notebook: Path) -> None:
    """Sign what was executed just now; a run does not fail because JupyterLab will ask about it."""
    if reason := sign(notebook):
        _say(f"note: JupyterLab will show {notebook.name} without graphs ({reason}): `jupyter trust {notebook}`")


def peak_memory_mb() -> int:
    """Largest resident size of any kernel that this process has waited for so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))  # bytes there, kilobytes on Linux


def _provenance(run: Run, parameters: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "run": run.run,
        "documents": run.documents,
        "graphrag": run.graphrag,
        "questions": run.questions,
        "seed": run.seed,
        "parameters": parameters,
        "inputs": inputs,
        "git": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git_commit() -> str:
    """Commit of the project, "-dirty" behind it when files differ from it; "" outside a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _finish(folder: Path, state: dict[str, Any], stages: Sequence[Stage]) -> None:
    """Write metrics.json and report.html, unless they are what these stages and this page would give again."""
    page_modules = module_hashes("import ragtune_lib.page")
    decisions = hashes(folder, [DECISIONS])
    key = content_id([state["stages"].get(stage.name) for stage in stages], page_modules, decisions)
    report = folder / "report.html"
    if state.get("report") == {"key": key, "files": hashes(folder, REPORT_FILES)}:
        _say(f"{'report':<16} unchanged: {report}")
        return
    from ragtune_lib.page import report_page

    write_json(folder / "metrics.json", collect_metrics(folder, state, stages))
    write_text(report, report_page(folder))
    state["report"] = {"key": key, "files": hashes(folder, REPORT_FILES)}
    write_json(folder / "run.json", state)
    _say(f"{'report':<16} written: {report}")


def collect_metrics(folder: Path, state: Mapping[str, Any], stages: Sequence[Stage]) -> dict[str, Any]:
    """The content of metrics.json: figures of all stages in one place; win rates and scores are lists of objects."""
    records = {stage.name: state["stages"][stage.name] for stage in stages}
    scores, statistics = folder / "scores.json", folder / "judge_statistics.json"
    by_model = json.loads(statistics.read_text(encoding="utf-8")) if statistics.exists() else {}
    return {
        "run": state["run"],
        "win_rates": read_lines(folder / "win_rates.jsonl")[0],
        "scores": json.loads(scores.read_text(encoding="utf-8")) if scores.exists() else [],
        "claims": by_model.get("claims", []),
        "seconds": {name: record["seconds"] for name, record in records.items()},
        "peak_memory_mb": max(record["peak_mb"] for record in records.values()),
        "stale": state.get("stale", {}),  # what the last change of the documents made so; it is made again by now
        "stages": {name: record["counts"] for name, record in records.items()},
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _say(text: str, status: int = 0) -> int:
    """Print at once, since a stage may take minutes; errors go to stderr."""
    print(text, file=sys.stderr if status else sys.stdout, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
