"""What a run file asks for, and whether it can be done: names, types and input files, checked before anything starts.

papermill merely warns about a parameter that a notebook does not have; here a misspelt name is an error that suggests
the nearest one.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragtune_lib.llm.calls import parse_spec
from ragtune_lib.llm.cost import price_of
from ragtune_lib.stages import STAGES, Stage, parameter_types, tree_hash
from ragtune_lib.store import ROOT, run_path

NOTEBOOKS = ROOT / "notebooks"
MODELS = ("student", "teacher", "judge")  # what each is asked for is in the notebooks
KINDS = {
    **dict.fromkeys(("run", "documents", "graphrag", "questions", *MODELS), "str"), "seed": "int",
    "budget": "float", "workers": "int", "notebooks": "dict",
}  # fmt: skip
PLAIN_TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}


@dataclass(frozen=True, slots=True)
class Run:
    """What a run file says."""

    run: str  # name of the folder under outputs/
    documents: str = ""  # folder, relative to the project or absolute; "" where an index is the source
    questions: str = ""  # held-out questions file; "" has them generated
    graphrag: str = ""  # output folder of GraphRAG: documents, chunks and graph are taken from its index
    seed: int | None = None  # None leaves each notebook's own default
    student: str | None = None  # the model that is tuned; None likewise
    teacher: str | None = None  # spec of the model that reads the text and writes pairs and questions; "" for rules
    judge: str | None = None  # spec of the model that reads pairs and compares answers; "" for rules alone
    budget: float | None = None  # US dollars that teacher and judge may cost in this run; None for no limit
    workers: int | None = None  # calls to a server at a time
    notebooks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def common(self) -> dict[str, Any]:
        """Parameters that each notebook gets which has them."""
        values = {"run": self.run, "documents": self.documents, "graphrag": self.graphrag}
        values |= {"questions": self.questions, "interactive": False}
        optional = {name: getattr(self, name) for name in ("seed", *MODELS, "budget", "workers")}
        return values | {name: value for name, value in optional.items() if value is not None}


def project_path(path: Path) -> str:
    """Relative to the project where it lies inside, so that a copied project gives the same keys."""
    full = path.expanduser().resolve()
    return full.relative_to(ROOT).as_posix() if full.is_relative_to(ROOT) else str(full)


def read_run_file(path: Path) -> Run:
    """Read a run file (YAML).

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for broken YAML, an unknown or a missing key, or a value of the wrong kind; names the file.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected `key: value` lines, at least `run` and `documents` (or `graphrag`)")
    for name, value in values.items():
        _known(str(name), list(KINDS), f"{path}: key")
        if name == "notebooks" and value is None:
            values = values | {name: {}}
        elif value is not None or name in ("run", "documents"):
            values = values | {name: _typed(value, KINDS[name], f"{path}: {name}")}
    if "run" not in values:
        raise ValueError(f"{path}: `run` is missing")
    if not {"documents", "graphrag"} & set(values):
        raise ValueError(f"{path}: `documents` is missing; only an index (`graphrag`) can take its place")
    return Run(**{name: value for name, value in values.items() if value is not None})


def stage_parameters(run: Run, notebooks: Path = NOTEBOOKS, stages: Sequence[Stage] = STAGES) -> dict[str, dict]:
    """What is injected into each notebook, by stage.

    Raises:
        FileNotFoundError: if a notebook is missing.
        ValueError: for an unknown notebook or parameter, with the nearest name and the list, for a value that does
            not fit the parameter's annotation, or for a model that cannot be asked (see `check_models`).
    """
    names = [stage.name for stage in stages]
    for name, values in run.notebooks.items():
        _known(str(name), names, "notebook")
        _typed(values, "dict", f"notebook {name}")
    result = {}
    for name in names:
        types = parameter_types(notebooks / f"{name}.ipynb")
        asked = run.notebooks.get(name, {})
        for parameter in asked:
            _known(str(parameter), list(types), f"{name}: parameter")
        values = {key: value for key, value in run.common().items() if key in types} | dict(asked)
        # YAML reads `chunk_sizes: 120`, a list of one size, as a number
        values = {
            key: str(value) if (types[key], type(value)) == ("str", int) else value for key, value in values.items()
        }
        result[name] = {key: _typed(value, types[key], f"{name}.{key}") for key, value in values.items()}
        check_models(result[name], name)
    return result


def check_models(values: Mapping[str, Any], where: str) -> None:
    """Refuse models that nobody can ask, before a stage that needs them has cost an hour.

    Args:
        values: parameters of one notebook.
        where: for the message.

    Raises:
        ValueError: for a spec that is none, a student whose weights are not here, a budget that is no amount, or one
            for a model without a known price.
    """
    specs = {}
    for name in (*MODELS, "reader"):  # of baselines
        if values.get(name):
            try:
                specs[name] = parse_spec(values[name])
            except ValueError as error:
                raise ValueError(f"{where}.{name}: {error}") from error
    if "student" in specs and not specs["student"].local:
        raise ValueError(f"{where}.student: {values['student']!r} is a server; what is tuned needs its weights here")
    if "budget" not in values:
        return
    if not (values["budget"] > 0 and math.isfinite(values["budget"])):
        raise ValueError(f"{where}.budget: {values['budget']} is no amount above 0; leave it out for no limit")
    for name, spec in specs.items():
        if price_of(spec) is None:
            raise ValueError(f"{where}.{name}: {spec.name} has no price, so no budget: add it to data/prices.yaml")


def _known(name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{what} {name!r} is unknown; {hint}known: {', '.join(names)}")


def _typed(value: Any, kind: str, where: str) -> Any:
    """The value as the annotation wants it; YAML reads `1e-3` as a word and `1` as an integer."""
    if kind == "float" and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError as error:
            raise ValueError(f"{where}: expected float, got {value!r}") from error
    wanted = PLAIN_TYPES.get(kind.split("[")[0])
    if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool)):
        raise ValueError(f"{where}: expected {kind}, got {value!r}")
    return value


def input_hashes(run: Run) -> dict[str, str]:
    """Content hash of the folder of documents or of the index, and of the questions file, if they can be used at all.

    Raises:
        FileNotFoundError: if one is missing.
        ValueError: if there are two sources or none, the folder is empty, or a question is malformed; names file and
            line.
    """
    if bool(run.documents) == bool(run.graphrag):
        raise ValueError("name a folder of documents or of an index (graphrag), one of the two")
    source = "documents" if run.documents else "graphrag"
    folder, questions = ROOT / (run.documents or run.graphrag), ROOT / run.questions
    if run.documents:
        _check_documents(folder)
    else:
        _check_graphrag(folder, run.run)
    if not run.questions:
        return {source: tree_hash(folder), "questions": ""}
    from ragtune_lib.questions import read_questions

    if not questions.is_file():
        raise FileNotFoundError(f"questions: there is no file {questions}")
    read_questions(questions)
    return {source: tree_hash(folder, without=[questions]), "questions": tree_hash(questions)}


def _check_documents(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"documents: there is no folder {folder}")
    if not any(item.is_file() for item in folder.rglob("*")):
        raise ValueError(f"documents: the folder {folder} holds no file")


def _check_graphrag(folder: Path, run: str) -> None:
    from ragtune_lib.graph.graphrag_import import check_index

    check_index(folder)
    if folder.resolve().is_relative_to(run_path(run).resolve()):
        raise ValueError(f"graphrag: run {run!r} itself writes {folder}; choose another name for this run")
