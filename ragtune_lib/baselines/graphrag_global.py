"""GraphRAG's global search: every window of community reports is asked, and the helpful answers are joined.

After Edge et al. 2024 (arXiv 2404.16130, section 3.1.6): reports are shuffled, so that what belongs together is spread
over the windows; each window gives an answer and says how helpful it is, from 0 to 100; those of 0 are dropped; the
others, best first, are what the final answer is made of.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ragtune_lib.baselines.reading import (
    HEADER,
    STAGE,
    ModelReader,
    Spent,
    Turn,
    item_of,
    make_answer,
    read_all,
)
from ragtune_lib.llm import Call
from ragtune_lib.llm.each import results_of_each
from ragtune_lib.llm.replies import TEXT, fields
from ragtune_lib.records import Answer, Chunk, Community, Problem, Question
from ragtune_lib.source_calls import source_call
from ragtune_lib.support import REFUSAL

TOKENS = 12_000  # of a window of reports, and of the answers that are joined, as in RAG-Tuned-LLM's settings
MAP_TOKENS = 1_000  # of the answer of a window; GraphRAG's default
SEED = 17
MAP, REDUCE = "graphrag_map", "graphrag_reduce"
PARTIAL = fields(answer=TEXT, helpfulness={"type": "integer"})


def pack(communities: Sequence[Community], room: int, reader: ModelReader, seed: int = SEED) -> list[list[Chunk]]:
    """Community reports in random order, packed into as many windows as they need.

    A window is closed when the next report does not fit. A report that is longer than a window is cut. The order
    depends on the seed and on which communities there are, not on the order in which they are given.

    Args:
        communities: of one level, see `graph.communities.communities_at`; those without a report are left out.
        room: tokens of a window.
        reader: who counts.
        seed: of the order.

    Returns:
        Reports by window, as passages that carry the community's id.
    """
    told = sorted((one for one in communities if one.summary.strip()), key=lambda one: one.id)
    random.Random(seed).shuffle(told)
    windows: list[list[Chunk]] = []
    used = 0
    for one in told:
        text = reader.cut(f"{one.title}\n{one.summary}", room - HEADER)
        size = reader.count(text) + HEADER
        if not windows or used + size > room:
            windows.append([])
            used = 0
        windows[-1].append(Chunk(one.id, "", 0, len(text), text, ""))
        used += size
    return windows


@dataclass(slots=True)
class _Found:
    """What the windows said to one question."""

    helpful: list[tuple[int, int, str]] = field(default_factory=list)  # (-helpfulness, window, answer)
    spent: Spent = field(default_factory=Spent)
    failed: int = 0

    def hear(self, window: int, data: dict[str, Any]) -> None:
        help_ = min(100, max(0, int(data["helpfulness"])))
        if help_ and data["answer"].strip():
            self.helpful.append((-help_, window, data["answer"].strip()))


def map_call(system: str, question: Question, windows: Sequence[Sequence[Chunk]], window: int) -> Call:
    """What one window is asked. The reports stand first, so that all questions to a window begin alike."""
    item = f"{item_of(question.id, system)} window {window + 1} of {len(windows)}"
    return source_call(MAP, item, windows[window], PARTIAL, MAP_TOKENS, question=question.question)


def reduce_call(reader: ModelReader, system: str, question: Question, told: Sequence[str]) -> Call:
    """The question with the answers of the windows, most helpful first."""
    parts = [Chunk(str(place), "", 0, 0, text, "") for place, text in enumerate(told)]
    item, most = item_of(question.id, system), reader.max_tokens
    return source_call(REDUCE, item, parts, None, most, question=question.question, length=reader.length)


def global_search(
    reader: ModelReader,
    system: str,
    questions: Sequence[Question],
    communities: Sequence[Community],
    tokens: int = TOKENS,
    seed: int = SEED,
) -> tuple[list[Answer], list[Problem]]:
    """Answer questions by global search.

    Args:
        reader: who answers, for the windows and in the end.
        system: name of the system.
        questions: to be answered.
        communities: of one level.
        tokens: of a window; less where the reader's window is smaller.
        seed: of the order of the reports.

    Returns:
        Answers and problems. Where no window was of any help the answer is that the documents do not say, unless a
        window was not heard: then there is none. A window that failed is a problem, also where the others gave an
        answer. Context ids are the communities of the windows that helped, most helpful first; tokens, seconds and
        money are those of all calls about a question.

    Raises:
        StageError: if not one of several calls succeeded, or none can (key, model, quota, server).
        ValueError: if there is no report, or the window has no room at all.
    """
    asked = [question.question for question in questions]
    windows = pack(communities, min(tokens, reader.room(MAP, asked, MAP_TOKENS)), reader, seed)
    if not windows:
        raise ValueError("GraphRAG's global search needs community reports, and 02_graph wrote none at this level")
    room = min(tokens, reader.room(REDUCE, asked, reader.max_tokens))
    found, problems = _map(reader, system, questions, windows)
    answers: list[Answer] = []
    turns: list[Turn] = []
    for question in questions:
        heard = found[question.id]
        ranked = sorted(heard.helpful)
        texts, _ = reader.fit((f"helpfulness: {-less}\n{text}" for less, _, text in ranked), room, HEADER)
        read = [report.id for _, window, _ in ranked[: len(texts)] for report in windows[window]]
        if texts:
            call = partial(reduce_call, reader, system, question, texts)
            turns.append(Turn(question.id, call, tuple(read), heard.spent))
        elif heard.failed:
            reason = f"{heard.failed} of {len(windows)} windows of reports failed, and no other was of help"
            problems.append(Problem(f"{STAGE} {system}", item_of(question.id, system), reason))
        else:
            answers.append(make_answer(reader, question.id, system, REFUSAL, (), heard.spent))
    more, troubles = read_all(reader, system, turns)
    place = {question.id: at for at, question in enumerate(questions)}
    return sorted(answers + more, key=lambda answer: place[answer.question_id]), problems + troubles


def _map(
    reader: ModelReader, system: str, questions: Sequence[Question], windows: Sequence[Sequence[Chunk]]
) -> tuple[dict[str, _Found], list[Problem]]:
    """Ask every question of every window; window by window, as providers bill less for what they read just before."""
    found = {question.id: _Found() for question in questions}
    problems = []
    things = [(question, window) for window in range(len(windows)) for question in questions]
    stage = f"{STAGE} {system}, windows"
    for (question, window), result in results_of_each(
        reader.model, stage, things, lambda thing: map_call(system, thing[0], windows, thing[1])
    ):
        heard = found[question.id]
        if result.problem:
            heard.failed += 1
            problems.append(result.problem)
        else:
            heard.spent = heard.spent.plus(result.reply)
            heard.hear(window, result.reply.data)
    return found, problems
