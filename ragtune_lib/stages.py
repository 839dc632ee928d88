"""The stages of a run: what each notebook reads and writes, and the key that says whether its result still holds.

A stage's key is made from all that its result depends on: its code cells, its parameters, the artifacts it reads, the
user's files it reads and the modules it imports. Its result holds while the key is the same and every file that it
wrote is still there with the same bytes. Prose is not in the key: a better sentence must not train a model again.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragtune_lib.store import ROOT, content_id, file_hash

LIBRARY = Path(__file__).resolve().parent
TABLES = ("documents", "text_units", "entities", "relationships", "communities", "community_reports")
DECISIONS = "decisions*.jsonl"  # one file per person
ADAPTER = ("adapter/adapter_model.safetensors", "adapter/adapter_config.json")


@dataclass(frozen=True, slots=True)
class Stage:
    """One notebook and its files, named relative to the run folder."""

    name: str  # the notebook's file name without suffix
    reads: tuple[str, ...]  # a file that is not there counts as absent, as aliases.jsonl may be; or a pattern with "*"
    writes: tuple[str, ...]
    inputs: tuple[str, ...] = ()  # parameters that name the user's own files, e.g. "documents"

    @property
    def outputs(self) -> tuple[str, ...]:
        """All files that a finished stage has written, its problems and its metrics among them."""
        return (*self.writes, f"problems/{self.name}.jsonl", f"metrics/{self.name}.json")


STAGES = (
    Stage("01_documents", (), ("documents.jsonl", "chunks.jsonl", "unseen.jsonl"), ("documents", "graphrag")),
    Stage(
        "02_graph",
        ("documents.jsonl", "chunks.jsonl", "aliases.jsonl", "graph_edits.jsonl"),
        (
            "entities.jsonl",
            "relationships.jsonl",
            "communities.jsonl",
            "graph.html",
            "graph.graphml",
            "graph.gexf",
            "graph.svg",
            *(f"graphrag/{table}.parquet" for table in TABLES),
        ),
        ("graphrag",),
    ),
    Stage(
        "03_synthesize",
        ("chunks.jsonl", "entities.jsonl", "relationships.jsonl", "communities.jsonl"),
        ("pairs.jsonl",),
    ),
    Stage(
        "04_curate",
        ("pairs.jsonl", "chunks.jsonl", "documents.jsonl", "unseen.jsonl", DECISIONS),
        ("questions.jsonl", "flags.jsonl", "kept.jsonl"),
        ("questions", "decisions"),
    ),
    Stage(
        "05_finetune",
        ("kept.jsonl",),
        ("left_out.jsonl", "examples.jsonl", "train_config.json", "train_log.jsonl", *ADAPTER),
    ),
    Stage(
        "06_answer",
        (
            "documents.jsonl",
            "chunks.jsonl",
            "questions.jsonl",
            "kept.jsonl",
            "examples.jsonl",
            "train_config.json",
            *ADAPTER,
            "entities.jsonl",
            "relationships.jsonl",
            "communities.jsonl",
        ),
        ("answers.jsonl", "retrieval.json"),
    ),
    Stage(
        "07_judge",
        ("questions.jsonl", "answers.jsonl", "chunks.jsonl", "documents.jsonl", "unseen.jsonl", "human_verdicts.jsonl"),
        (
            "verdicts.jsonl",
            "win_rates.jsonl",
            "scores.json",
            "judge_calls.jsonl",
            "claims.jsonl",
            "judge_statistics.json",
        ),
    ),
)


def writer_of(file: str) -> str:
    """The notebook that writes a file of the run folder, "" when none does."""
    return next((stage.name for stage in STAGES if file in stage.outputs), "")


def stage_key(
    stage: Stage,
    notebook: Path,
    parameters: Mapping[str, Any],
    folder: Path,
    inputs: Mapping[str, str],
    library: Path = LIBRARY,
) -> str:
    """Content id of everything that the result of a stage depends on.

    Args:
        stage: The stage.
        notebook: Its notebook file.
        parameters: What is injected into it; the notebook's own defaults are in its code cells.
        folder: The run folder with the artifacts that it reads.
        inputs: Content hash of the user's documents, index and questions, by parameter name.
        library: Folder of the package whose modules the notebook imports.
    """
    cells = code_cells(notebook)
    return content_id(
        cells,
        sorted(parameters.items()),
        hashes(folder, stage.reads),
        {name: inputs.get(name, "") or _file_hash(parameters.get(name, "")) for name in stage.inputs},
        module_hashes("\n".join(cells), library),
    )


def _file_hash(path: str) -> str:
    """Content hash of a file that a parameter names, "" where it names none."""
    return file_hash(ROOT / path) if path and (ROOT / path).is_file() else ""


def holds(record: Mapping[str, Any] | None, key: str, stage: Stage, folder: Path) -> bool:
    """Whether a recorded result can stand: same key, finished, and every file still as it was written."""
    if not record or record.get("status") != "done" or record.get("key") != key:
        return False
    return record.get("files") == hashes(folder, stage.outputs)


def hashes(folder: Path, files: Sequence[str]) -> dict[str, str]:
    """Content hash of each file by name, "" for one that is not there; a pattern stands for the files that match it."""
    names = [name for name in files if "*" not in name]
    names += [path.name for name in files if "*" in name for path in folder.glob(name)]
    return {name: file_hash(folder / name) if (folder / name).is_file() else "" for name in sorted(names)}


def tree_hash(path: Path, without: Sequence[Path] = ()) -> str:
    """Content hash of a file, or of all files below a folder with their relative names; hidden ones do not count."""
    if path.is_file():
        return file_hash(path)
    left_out = {item.resolve() for item in without}
    files = [item for item in sorted(path.rglob("*")) if item.is_file() and item.resolve() not in left_out]
    names = [(item.relative_to(path).as_posix(), item) for item in files]
    return content_id(
        [(name, file_hash(item)) for name, item in names if not name.startswith(".") and "/." not in name]
    )


def code_cells(notebook: Path) -> list[str]:
    """Source of the code cells of a notebook, in order.

    Raises:
        FileNotFoundError: if there is no such notebook.
        ValueError: if the file is not a notebook.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{notebook} is not a notebook: {error}") from error
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def parameter_types(notebook: Path) -> dict[str, str]:
    """Names and annotations of the cell tagged "parameters", in order; {} when there is none.

    It reads what `papermill.inspect_notebook` reads (a test compares the two) without papermill's four seconds of
    imports, so that a run with nothing to do ends at once.
    """
    return {line.target.id: ast.unparse(line.annotation) for line in _parameters(notebook)}


def parameter_defaults(notebook: Path) -> dict[str, Any]:
    """Names and default values of the same cell."""
    return {line.target.id: ast.literal_eval(line.value) for line in _parameters(notebook)}


def _parameters(notebook: Path) -> list[ast.AnnAssign]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    lines = ast.parse("".join(tagged[0]["source"])).body if tagged else []
    return [line for line in lines if isinstance(line, ast.AnnAssign)]


def module_hashes(source: str, library: Path = LIBRARY) -> dict[str, str]:
    """Content hash of each module of the package that a source imports, directly or through another module.

    It is the code that counts: a better comment must not train a model again. Prompts are files: a source whose modules
    read any depends on all of them.

    Args:
        source: Python source, for instance the code cells of a notebook.
        library: Folder of the package.

    Raises:
        SyntaxError: if a source is not plain Python.
    """
    found: dict[str, str] = {}
    waiting = sorted(_imports(source, library))
    while waiting:
        name = waiting.pop()
        if name not in found:
            source = _module_file(name, library).read_text(encoding="utf-8")
            found[name] = content_id(without_prose(source))
            waiting += sorted(_imports(source, library))
    if "prompt_files" in found:
        found["prompts"] = tree_hash(library / "prompts")
    return dict(sorted(found.items()))


def without_prose(source: str) -> str:
    """The syntax tree of a Python source as text, without its comments, its layout and its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _imports(source: str, library: Path) -> set[str]:
    """Modules of the package named in import statements, those inside functions included, as "store" or "llm.calls".

    A module of a subpackage stands for the subpackage too: its `__init__` runs with it.
    """
    package = library.name
    paths: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            paths |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module]))
            paths |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    inside = [path.split(".")[1:] for path in paths if path.startswith(f"{package}.")]
    names = {".".join(parts[:depth]) for parts in inside for depth in range(1, len(parts) + 1)}
    return {name for name in names if _module_file(name, library).is_file()}


def _module_file(name: str, library: Path) -> Path:
    """File of a module or of a subpackage, whether or not there is one."""
    place = library.joinpath(*name.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")
