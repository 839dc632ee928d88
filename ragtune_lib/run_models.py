"""The models of a run: one file of kept replies, one budget, and stand-ins where the run is only planned."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ragtune_lib.llm import Model, StageError, open_model
from ragtune_lib.llm.calls import parse_spec
from ragtune_lib.llm.cost import price_of
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.llm.tally import EXHAUSTED
from ragtune_lib.records import Problem

CALLS = "calls.sqlite"  # in the run folder; a cache, no artifact of a stage
PLAN = "plan:"  # before a spec: nothing is sent, replies are stand-ins
PLAN_MARK = "only_a_plan.txt"  # in a run folder that may hold stand-ins


def open_run_model(
    spec: str, folder: Path, budget: float = 0.0, workers: int = 16, loaded: tuple[Any, Any] | None = None
) -> Model:
    """Make the teacher or the judge of a run ready to be asked; nothing is loaded or sent yet.

    Args:
        spec: see `llm.calls`; "plan:SPEC" is for `ragtune plan` alone.
        folder: of the run; the replies of all its models are kept there.
        budget: US dollars for all models of the run and all its stages; 0 for no limit. What the kept replies have
            cost is taken off; calls that failed are not known any more and count only in the stage that made them.
        workers: calls to a server at a time.
        loaded: model and tokenizer of a spec that runs here, when they are in memory already.

    Raises:
        ValueError: for a spec that is none, a budget for a model without a known price, or a plan outside of one.
    """
    cache = folder / CALLS
    if not spec.startswith(PLAN):
        left = max(0.0, budget - spent(cache)) if budget else None
        return open_model(spec, cache, left, workers, loaded=loaded)
    if not (folder / PLAN_MARK).is_file():
        raise ValueError(f"{spec!r} gives stand-ins and is for `ragtune plan` alone: name the model without {PLAN!r}")
    # by name and not by an import statement: results of stages shall not become due when a stand-in changes
    stand_ins = importlib.import_module("ragtune_lib.stand_ins")
    model = open_model(spec.removeprefix(PLAN), cache)
    return Model(model.name, model.cache, stand_ins.StandIns(model), model.meter, 1)


def spent(cache: Path) -> float:
    """US dollars that the kept replies of a run have cost, as if none came by batch; unknown prices count nothing."""
    if not cache.is_file():
        return 0.0
    replies = ReplyCache(cache)
    total = 0.0
    for name in replies.models():
        usage, price = replies.usage(name), price_of(parse_spec(name))
        total += price.of(usage.prompt_tokens, usage.output_tokens) if price else 0.0
    replies.close()
    return total


def check_paid(problems: Iterable[Problem]) -> None:
    """End a stage as failed when the budget or the server cut it short, after all that it has was written.

    Otherwise the next stage would go on with a part, and a model be trained for hours on it. The next run, with a
    higher budget or when the server is there again, asks for the rest alone. What a model refused or wrote badly does
    not end a stage: it would do so again.

    Raises:
        StageError: says how many calls were not made or not answered.
    """
    reasons = [problem.reason for problem in problems]
    unserved = [reason for reason in reasons if reason.startswith(("not asked", *EXHAUSTED))]
    if unserved:
        raise StageError(
            f"{len(unserved):,} calls had no answer, the last one since: {unserved[-1]}. What was answered is kept: "
            "run it again when the server is there."
        )
    unpaid = sum(reason.startswith("budget reached") for reason in reasons)
    if unpaid:
        raise StageError(
            f"{unpaid:,} calls were not made since the budget is reached. What was answered is kept: raise `budget`, "
            "or take less (fewer generators, questions, rubrics), and run it again."
        )
