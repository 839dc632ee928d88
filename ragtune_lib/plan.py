"""`ragtune plan`: does a run file work, and what will its teacher and judge cost? Nothing is sent, nothing is trained.

The notebooks are executed in a temporary folder with stand-ins (`stand_ins`) where teacher and judge would answer; so
the calls that are counted are those that the notebooks really make, and whatever would stop them stops the plan. What
a run has kept by now is not counted again, and from twenty kept replies on the forecast knows how long replies are.

Notebooks 05 and 06 are left out, since they need the student's weights and cost time instead of money: in their place
each question gets answers as long as they may be.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragtune_lib.baselines.systems import baseline_names
from ragtune_lib.judges.reference import SYSTEMS
from ragtune_lib.llm.calls import parse_spec
from ragtune_lib.llm.cost import ENOUGH, dollars, price_of
from ragtune_lib.llm.reply_cache import ReplyCache, Usage
from ragtune_lib.records import Answer, Question
from ragtune_lib.run_models import CALLS, PLAN, PLAN_MARK
from ragtune_lib.runfile import NOTEBOOKS, Run, input_hashes, stage_parameters
from ragtune_lib.stages import STAGES, parameter_defaults
from ragtune_lib.store import read_records, run_folder, run_path, write_records, write_text

LEFT_OUT = ("05_finetune", "06_answer")
MODELS = ("teacher", "judge")
CHARACTERS = 4  # per token of an answer
BY_RULES = "what rules find in the text; a model may find half as much or twice as much"
HOW = (
    "How this was counted: the notebooks ran with stand-ins for the models. The graph is {graph}. "
    "No model is unable to ask, every question passes. A reply counts "
    f"as long as it may be until {ENOUGH} real ones are kept, and most are far shorter: plan again after the first "
    "minutes of a run, it then knows."
)
WITHOUT = (
    "Left out: 05_finetune and 06_answer, which cost time and no money here (a reader of baselines at a server would "
    "cost some); in their place answers of {tokens} tokens. Chunks were measured with the embedded model's tokenizer, "
    "and the student {student!r} was not loaded."
)


@dataclass(frozen=True, slots=True)
class Due:
    """What a stage would ask of one model beyond what is kept."""

    stage: str
    model: str
    usage: Usage

    def money(self) -> tuple[float, float] | None:
        """US dollars, expected and at most; None where the price is unknown."""
        price, used = price_of(parse_spec(self.model)), self.usage
        if price is None:
            return None
        return price.of(used.prompt_tokens, used.output_tokens), price.of(used.prompt_tokens, used.max_tokens)

    def __str__(self) -> str:
        used, money = self.usage, self.money()
        cost = "price unknown: add it to data/prices.yaml" if money is None else _amount(*money)
        return (
            f"{self.stage:<16} {self.model}: {used.replies:,} calls, {used.prompt_tokens:,} tokens to read, "
            f"{used.output_tokens:,} to write; {cost}"
        )


def _amount(expected: float, most: float) -> str:
    """Money in words; before any reply is known, all that can be said is the most."""
    return f"at most {dollars(most)}" if expected >= most else f"about {dollars(expected)}, at most {dollars(most)}"


def told_plan(run: Run, say: Callable[[str], object] = str) -> tuple[str, bool]:
    """Plan a run; the plan in words, and whether every notebook ran to its end. Arguments as for `plan_run`."""
    due, failure = plan_run(run, say)
    answering = {**parameter_defaults(NOTEBOOKS / "06_answer.ipynb"), **run.notebooks.get("06_answer", {})}
    end = f"FAILED, as the run would: {failure}" if failure else "Every other notebook ran to its end."
    head = f"Plan of run {run.run!r}: nothing is sent, nothing is trained."
    counted = [told(due, run, answering)] if due or not failure else []
    return "\n\n".join([head, *counted, end]), not failure


def told(due: Sequence[Due], run: Run, answering: Mapping[str, Any]) -> str:
    """The plan in words.

    Args:
        due: from `plan_run`.
        run: what was planned.
        answering: parameters of notebook 06.
    """
    if not due:
        return "No model has to be asked: this run costs no money."
    lines = [str(one) for one in due]
    money = [one.money() for one in due]
    known = [amounts for amounts in money if amounts is not None]
    total = [sum(amounts[place] for amounts in known) for place in (0, 1)]
    kept = "" if len(known) == len(money) else ", models without a price not counted"
    limit = f"; the budget is {dollars(run.budget)}" if run.budget else "; no budget is set"
    limit += ", which may not be enough" if run.budget and total[1] > run.budget else ""
    lines.append(f"{'in all':<16} {_amount(*total)}{kept}{limit}")
    without = WITHOUT.format(tokens=answering["max_new_tokens"], student=run.student or "embedded")
    how = HOW.format(graph="that of the index" if run.graphrag else BY_RULES)
    return "\n".join([*lines, "", how, without])


def plan_run(run: Run, say: Callable[[str], object] = str) -> tuple[list[Due], str]:
    """Go through the stages of a run without spending anything.

    Args:
        run: what a run would do; its folder is only read.
        say: told the name of each notebook before it runs; a large corpus takes minutes.

    Returns:
        What each stage would ask of each model, and what stopped the plan, "" if nothing did.

    Raises:
        ValueError, FileNotFoundError: for a mistake in what was asked for.
    """
    from ragtune_lib.report import execute

    parameters = stage_parameters(run)
    input_hashes(run)
    due: list[Due] = []
    with _elsewhere(run) as folder:
        for stage in STAGES:
            notebook = NOTEBOOKS / f"{stage.name}.ipynb"
            values = planned_parameters(stage.name, parameters[stage.name], notebook)
            if stage.name in LEFT_OUT:
                if stage.name == "06_answer":
                    named = {**parameter_defaults(notebook), **values}["baselines"]
                    write_stand_in_answers(folder, values["max_new_tokens"], baseline_names(named))
                continue
            before = _usages(folder)
            say(f"{stage.name:<16} ...")
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                failure = execute(notebook, folder / "notebooks" / notebook.name, values)
            if not failure and (lacking := [name for name in stage.outputs if not (folder / name).is_file()]):
                failure = f"the notebook ended without writing {', '.join(lacking)}"
            if failure:
                return due, f"{stage.name}: {failure}"
            due += [Due(stage.name, name, used) for name, used in _grown(before, _usages(folder)).items()]
    return due, ""


def planned_parameters(stage: str, values: Mapping[str, Any], notebook: Path) -> dict[str, Any]:
    """Parameters of a notebook in the plan: stand-ins instead of models, the embedded tokenizer instead of a student's.

    Args:
        stage: its name.
        values: what a run would inject.
        notebook: its file, for the defaults.
    """
    defaults = parameter_defaults(notebook)
    planned = dict(values)
    for name in MODELS:
        if spec := {**defaults, **values}.get(name):
            planned[name] = f"{PLAN}{spec}"
    planned.pop("student", None)
    planned.pop("budget", None)  # the plan says what is needed, not what is left
    if stage == "03_synthesize":
        planned["writer"] = ""  # the packaged model's questions take minutes and cost nothing
    return planned | ({"max_new_tokens": {**defaults, **values}["max_new_tokens"]} if stage == "06_answer" else {})


def write_stand_in_answers(folder: Path, tokens: int, baselines: Sequence[str] = ()) -> None:
    """Answers of all systems, baselines among them, to the held-out questions, each as long as it may be."""
    questions = read_records(folder / "questions.jsonl", Question)
    answers = []
    for question in questions:
        words = f"{question.answer or question.question} " * (1 + tokens * CHARACTERS // max(1, len(question.question)))
        answers += [
            Answer(question.id, system, f"{number}. {words}"[: tokens * CHARACTERS].strip(), (), 0, tokens, 0.0)
            for number, system in enumerate((*SYSTEMS, *baselines), 1)
        ]
    write_records(folder / "answers.jsonl", answers)


@contextlib.contextmanager
def _elsewhere(run: Run) -> Iterator[Path]:
    """A run folder below a temporary place, with a copy of the replies that the run has kept."""
    kept = run_path(run.run) / CALLS
    real = os.environ.get("RAGTUNE_OUTPUTS")
    with tempfile.TemporaryDirectory(prefix="ragtune-plan-") as outputs:
        os.environ["RAGTUNE_OUTPUTS"] = outputs  # inherited by the kernels
        try:
            folder = run_folder(run.run)
            for part in ("notebooks", "problems", "metrics"):
                (folder / part).mkdir()
            write_text(folder / PLAN_MARK, "Made by `ragtune plan`; nothing in this folder was written by a model.\n")
            if kept.is_file():
                _copy(kept, folder / CALLS)
            for name in ("aliases.jsonl", "graph_edits.jsonl"):  # what is merged or deleted decides what is asked
                if kept.with_name(name).is_file():
                    shutil.copy(kept.with_name(name), folder)
            yield folder
        finally:
            if real is None:
                del os.environ["RAGTUNE_OUTPUTS"]
            else:
                os.environ["RAGTUNE_OUTPUTS"] = real


def _copy(source: Path, target: Path) -> None:
    """A whole copy of a database, even while a run writes into it."""
    with (
        contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


def _usages(folder: Path) -> dict[str, Usage]:
    if not (folder / CALLS).is_file():
        return {}
    replies = ReplyCache(folder / CALLS)
    found = {name: replies.usage(name) for name in replies.models()}
    replies.close()
    return found


def _grown(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> dict[str, Usage]:
    """What was added for each model, those without any left out."""
    grown = {}
    for name, now in after.items():
        then = before.get(name) or Usage(0, 0, 0, 0, 0)
        if now.replies > then.replies:
            fields = Usage.__dataclass_fields__
            grown[name] = Usage(*(getattr(now, field) - getattr(then, field) for field in fields))
    return grown
