"""What the judge adds to the time of its model, and how near its statistics come to a truth that is known.

The judge is simulated: it prefers the better system by known odds, longer answers by others, and the first place by
others again. So the true win rate between equally long answers is known, and each figure can be held against it.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import re
import time
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragtune_lib.judges.as_published import judge_as_published
from ragtune_lib.judges.llm_judge import GRAPHRAG, PAPER, judge_pairs, plan_judging
from ragtune_lib.judges.preference_models import bradley_terry, length_controlled
from ragtune_lib.judges.verdict_statistics import mean_win_rates, position_effects
from ragtune_lib.llm import Call, Model, Scripted
from ragtune_lib.llm.cost import FREE, Meter
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.records import Answer, Question

from .measures import peak_mb

QUALITY = {"tuned": 0.6, "retrieval": 0.3, "graph": 0.2, "long": 0.0, "base": -0.6}  # log-odds
LENGTHS = {"tuned": 90, "retrieval": 45, "graph": 70, "long": 60, "base": 50}  # words, on average
TASTE, PLACE = 0.8, 0.7  # log-odds for a much longer answer, and for the first place
DEVIATION = 35.0  # words that make an answer much longer
CRITERION = "insight"


def judging(count: int = 125) -> dict[str, Any]:
    """Five systems, all ten pairs, two rubrics, both orders; then all statistics; then the same as published.

    Args:
        count: of questions; 125 is GraphRAG's number.

    Returns:
        Calls, seconds and CPU milliseconds a call of judging, seconds of the statistics, MB; and the mean absolute
        error over pairs of the raw, length-controlled and published win rates against the true ones.
    """
    rng = random.Random(17)
    questions = [Question(f"q{n}", ("local", "global")[n % 2], f"Question {n}?", "x", (), ()) for n in range(count)]
    answers = [
        Answer(q.id, system, f"{system} " + "word " * max(5, int(rng.gauss(mean, 25))), (), 1, 1, 0.0)
        for q in questions
        for system, mean in LENGTHS.items()
    ]
    pairs = list(combinations(QUALITY, 2))
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        model = Model("simulated", ReplyCache(Path(folder) / "calls.sqlite"), Scripted(_strict), Meter(FREE), workers=1)
        plan = plan_judging(questions, answers, pairs, (PAPER, GRAPHRAG), {q.id: "text " * 2_000 for q in questions})
        started, cpu = time.perf_counter(), time.process_time()
        judged = judge_pairs(model, plan)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        calls = len(judged.calls) // 4
        lenient = Model("simulated", model.cache, Scripted(_lenient, "lenient"), Meter(FREE), workers=1)
        published = judge_as_published(lenient, questions, answers, pairs)
    started = time.perf_counter()
    raw = mean_win_rates(judged.verdicts)
    fair = length_controlled(judged.verdicts, answers)
    bradley_terry(judged.verdicts)
    bias = next(row for row in position_effects(judged.calls) if row["criterion"] == CRITERION)
    statistics = time.perf_counter() - started
    return {
        "questions": count, "calls": calls, "seconds": seconds, "cpu_ms": 1000 * cpu / calls, "statistics": statistics,
        "peak_mb": peak_mb(), "bias": bias["bias"], "consistency": bias["consistency"],
        "error_raw": _error(raw, "rate"), "error_controlled": _error(fair, "controlled"),
        "error_published": _error(mean_win_rates(published.verdicts), "rate"),
    }  # fmt: skip


def _error(rows: list[dict], name: str) -> float:
    chosen = [row for row in rows if (row["criterion"], row["scope"]) == (CRITERION, "all")]
    return sum(abs(row[name] - _truth(row["system"], row["baseline"])) for row in chosen) / len(chosen)


def _truth(system: str, baseline: str) -> float:
    """How often the system wins if both answers are equally long and either is first equally often."""
    quality = QUALITY[system] - QUALITY[baseline]
    return (_sigmoid(quality + PLACE) + _sigmoid(quality - PLACE)) / 2


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _first_wins(call: Call, first: str, second: str) -> bool:
    """By known odds; the same call has the same outcome."""
    quality = QUALITY[first.split()[0]] - QUALITY[second.split()[0]]
    length = math.tanh((len(first.split()) - len(second.split())) / DEVIATION)
    return random.Random(repr(call.messages)).random() < _sigmoid(quality + TASTE * length + PLACE)


def _strict(call: Call) -> str:
    parts = re.split(r"^===== .+\n", call.messages[-1][1], flags=re.MULTILINE)
    winner = "first" if _first_wins(call, parts[3], parts[4]) else "second"
    return json.dumps({name: {"reason": "simulated", "winner": winner} for name in call.schema["required"]})


def _lenient(call: Call) -> str:
    parts = re.findall(r"-- answer [AB] begins --\n[AB]: (.*?)\n-- answer", call.messages[-1][1], flags=re.DOTALL)
    letter = "A" if _first_wins(call, *parts) else "B"
    heads = (
        "Usefulness / Correctness",
        "Richness / Diversity",
        "Insightfulness / Deep Understanding",
        "User-Friendliness",
    )
    return "\n\n".join(f"{head}: {letter}\nReason: simulated" for head in heads)
