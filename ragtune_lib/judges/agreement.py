"""Do a judge and a person agree? Pairs chosen blind, a person's verdicts on disk, Cohen's kappa.

Like `curate`, a file that is only ever appended to; the state is a fold of its lines, so a restarted kernel goes on
where it stopped.
"""

from __future__ import annotations

import json
import math
import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import get_args, get_type_hints

from ragtune_lib.curation.events import fold, standing
from ragtune_lib.curation.second_pass import cohen_kappa
from ragtune_lib.judges.llm_judge import OVERALL
from ragtune_lib.records import Answer, HumanVerdict, Problem, Question, Verdict, Winner
from ragtune_lib.store import append_record, content_id, to_record

PERSON = "person"
FILE = "human_verdicts.jsonl"
CHOICES = ("first", "second", "tie")
ACTIONS = get_args(get_type_hints(HumanVerdict)["action"])
OTHER = {"a": "b", "b": "a", "tie": "tie"}


@dataclass(frozen=True, slots=True)
class BlindPair:
    """Two answers to one question as a person sees them; who wrote them is not shown."""

    id: str  # content id of the question and both answers in the order shown: a verdict holds for just that
    question: Question
    first: str
    second: str
    system_a: str
    system_b: str
    swapped: bool  # b's answer is shown first


def choose_pairs(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    pairs: Sequence[tuple[str, str]],
    count: int = 30,
    seed: int = 17,
) -> list[BlindPair]:
    """Choose what a person shall judge: evenly over scopes, then over pairs of systems, each question once if possible.

    Which ones, in which order and whose answer comes first follow from hashes of seed and content: the same every time,
    and no help in guessing. Comparisons with a missing, blank or twice the same answer are left out: there is nothing
    to judge. So agreement is measured on the others alone.

    Returns:
        At most `count` pairs, fewer where there are no more.
    """
    said = {(answer.question_id, answer.system): answer.text.strip() for answer in answers}
    waiting: defaultdict[str, list[BlindPair]] = defaultdict(list)
    for question in questions:
        for a, b in pairs:
            texts = said.get((question.id, a), ""), said.get((question.id, b), "")
            if all(texts) and texts[0] != texts[1]:
                # sorted first: what is shown does not depend on which system is named first
                first, second = sorted(texts, reverse=int(content_id(seed, question.question, *sorted(texts)), 16) % 2)
                pair_id = content_id(question.question, first, second)
                waiting[question.scope].append(BlindPair(pair_id, question, first, second, a, b, first == texts[1]))
    chosen: dict[str, BlindPair] = {}
    times: defaultdict[object, int] = defaultdict(int)
    while len(chosen) < count and any(waiting.values()):
        for scope in [scope for scope in waiting if waiting[scope]]:
            best = min(
                waiting[scope],
                key=lambda one: (
                    times[one.question.id],
                    times[one.question.scope, one.system_a, one.system_b],
                    content_id(seed, one.id),
                ),
            )
            waiting[scope].remove(best)
            if len(chosen) < count and best.id not in chosen:
                chosen[best.id] = best
                times[best.question.id] += 1
                times[best.question.scope, best.system_a, best.system_b] += 1
    return sorted(chosen.values(), key=lambda one: content_id(seed, "place", one.id))


class BlindJudging:
    """A person's verdicts on blind pairs; every one is on the disk before it shows.

    Args:
        folder: the run folder; verdicts are appended to its human_verdicts.jsonl.
        pairs: what to judge, from `choose_pairs`.
        reviewer: name written into each verdict; only this reviewer's count here and can be taken back.
    """

    def __init__(self, folder: Path, pairs: Sequence[BlindPair], reviewer: str = ""):
        self.path = folder / FILE
        self.pairs = {pair.id: pair for pair in pairs}
        self.reviewer = reviewer
        self.events, self.problems = read_human_verdicts(self.path, self.pairs)
        self._lock = threading.RLock()  # widget callbacks may run on another thread than the notebook's cells

    def decide(self, pair_id: str, choice: str) -> HumanVerdict:
        """Append one verdict: first, second or tie; the last one for a pair counts.

        Raises:
            ValueError: for an unknown pair or choice.
            OSError: if it cannot be written; the state is then unchanged.
        """
        if pair_id not in self.pairs:
            raise ValueError(f"no pair with id {pair_id!r:.60}")
        if choice not in CHOICES:
            raise ValueError(f"unknown choice {choice!r:.60}, expected one of {', '.join(CHOICES)}")
        return self._append(HumanVerdict(pair_id, choice, self.reviewer))

    def undo(self) -> HumanVerdict | None:
        """Take back this reviewer's last standing verdict on a pair that is here, and return it; None without one."""
        with self._lock:
            own = [event for event in standing(self._own()) if event.pair_id in self.pairs]
            if own:
                self._append(HumanVerdict(own[-1].pair_id, "undo", self.reviewer))
            return own[-1] if own else None

    def _append(self, verdict: HumanVerdict) -> HumanVerdict:
        with self._lock:
            verdict = replace(verdict, at=datetime.now(UTC).isoformat(timespec="seconds"))
            append_record(self.path, verdict)
            self.events.append(verdict)
        return verdict

    def _own(self) -> list[HumanVerdict]:
        return [event for event in self.events if event.reviewer == self.reviewer]

    def choices(self) -> dict[str, str]:
        """What this reviewer chose for each judged pair, in the order of the pairs."""
        return self._choices_of(self.reviewer)

    def _choices_of(self, reviewer: str) -> dict[str, str]:
        with self._lock:
            # as of curation: the same kind of event, with other actions
            decided = fold([event for event in self.events if event.reviewer == reviewer])
        return {pair_id: decided[pair_id].action for pair_id in self.pairs if pair_id in decided}

    def open(self) -> list[str]:
        """Ids of the pairs that are not judged yet, in order."""
        judged = self.choices()
        return [pair_id for pair_id in self.pairs if pair_id not in judged]

    def told(self) -> str:
        """One line of plain text: how far the judging is."""
        return f"{len(self.choices())} of {len(self.pairs)} pairs judged"

    def verdicts(self) -> list[Verdict]:
        """All persons' verdicts with the systems named, criterion "overall", judge "person" or "person (name)"."""
        found = []
        for reviewer in sorted({event.reviewer for event in self.events}):
            judge = f"{PERSON} ({reviewer})" if reviewer else PERSON
            for pair_id, choice in self._choices_of(reviewer).items():
                pair = self.pairs[pair_id]
                winner = _winner(choice, pair.swapped)
                value = {"a": 1.0, "tie": 0.5, "b": 0.0}[winner]
                systems = (pair.system_a, pair.system_b)
                found.append(
                    Verdict(pair.question.id, pair.question.scope, OVERALL, *systems, winner, value, 1 - value, judge)
                )
        return found


def _winner(choice: str, swapped: bool) -> Winner:
    if choice == "tie":
        return "tie"
    return "a" if (choice == "first") != swapped else "b"


def read_human_verdicts(path: Path, pair_ids: Collection[str]) -> tuple[list[HumanVerdict], list[Problem]]:
    """Read a verdicts file; a missing file is an empty one.

    Returns:
        Every readable verdict in order, and one Problem with file and line for each line that is none, and for each
        verdict on a pair that is not in `pair_ids` (other answers, another choice of pairs); the latter is kept too.
    """
    events: list[HumanVerdict] = []
    problems: list[Problem] = []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            event = to_record(HumanVerdict, json.loads(line.decode("utf-8")), where)
            if event.action not in ACTIONS or not all(isinstance(value, str) for value in asdict(event).values()):
                raise ValueError(f"{where}: not a verdict")
        except (UnicodeDecodeError, ValueError) as error:
            reason = str(error) if str(error).startswith(where) else f"{where}: not a line of JSON: {error}"
            problems.append(Problem("07_judge", where, reason))
            continue
        events.append(event)
        if event.pair_id not in pair_ids and event.action != "undo":
            problems.append(Problem("07_judge", where, f"{where}: about a pair that is not among those to judge"))
    return events, problems


def agreements(
    verdicts: Sequence[Verdict], criterion: str = OVERALL, seed: int = 17, samples: int = 2000
) -> list[dict]:
    """How well each two judges agree on what both judged: share of equal verdicts and Cohen's kappa.

    Verdicts are a wins, b wins, tie; invalid ones are left out. It does not matter in which direction a judge compared
    two systems. The interval is a percentile bootstrap over questions; draws without a defined kappa are left out.

    Args:
        verdicts: of all judges together: person, judge models, reference judge.
        criterion: of the verdicts that are compared.
        seed: of the resampling.
        samples: resamples of the questions.

    Returns:
        Rows {judge, other, n, agree, kappa, low, high}, judges in order of appearance, those with "person" first.
    """
    by_judge: defaultdict[str, dict[tuple[str, str, str], str]] = defaultdict(dict)
    for verdict in verdicts:
        if verdict.criterion == criterion and verdict.winner != "invalid":
            a, b = verdict.system_a, verdict.system_b
            winner = verdict.winner if a < b else OTHER[verdict.winner]
            by_judge[verdict.judge][verdict.question_id, min(a, b), max(a, b)] = winner
    judges = sorted(by_judge, key=lambda judge: not judge.startswith(PERSON))
    rows = []
    for judge, other in combinations(judges, 2):
        shared = [key for key in by_judge[judge] if key in by_judge[other]]
        one, two = ([by_judge[name][key] for key in shared] for name in (judge, other))
        low, high = _kappa_interval([key[0] for key in shared], one, two, seed, samples)
        agree = sum(a == b for a, b in zip(one, two, strict=True)) / len(shared) if shared else math.nan
        rows.append(
            {
                "judge": judge, "other": other, "n": len(shared), "agree": agree, "kappa": cohen_kappa(one, two),
                "low": low, "high": high,
            }
        )  # fmt: skip
    return rows


def _kappa_interval(
    questions: Sequence[str], one: Sequence[str], other: Sequence[str], seed: int, samples: int
) -> tuple[float, float]:
    import numpy as np

    groups: defaultdict[str, list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        groups[question].append(place)
    units = list(groups.values())
    if not units:
        return math.nan, math.nan
    found = []
    for drawn in np.random.default_rng(seed).integers(0, len(units), (samples, len(units))):
        places = [place for unit in drawn for place in units[unit]]
        found.append(cohen_kappa([one[place] for place in places], [other[place] for place in places]))
    defined = [kappa for kappa in found if not math.isnan(kappa)]
    return tuple(map(float, np.percentile(defined, (2.5, 97.5)))) if defined else (math.nan, math.nan)
