"""Numbers from answers and verdicts: EM, F1, fact recall, win rates; each with its count and its interval."""

from __future__ import annotations

import math
import re
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from ragtune_lib.records import Answer, Chunk, Document, Problem, Question, Verdict, WinRate
from ragtune_lib.retrieve import recall_at_k
from ragtune_lib.support import Corpus, abstains, without_dates
from ragtune_lib.text import contains, normalize, numbers

SCOPES = ("local", "global", "unanswerable", "all")
METRICS = ("fact_recall", "f1", "em", "support", "abstention", "false_abstention", "context_recall")
_PUNCTUATION = str.maketrans("", "", string.punctuation + "\u2018\u2019\u201c\u201d")


def squad_tokens(text: str) -> list[str]:
    """Words after SQuAD's normalisation: lower case, no punctuation, no articles.

    Source: the official evaluation script of SQuAD v1.1 (Rajpurkar et al. 2016, arXiv 1606.05250); curly quotation
    marks are treated like straight ones.
    """
    return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(text: str, reference: str) -> float:
    """1.0 when both are the same words after SQuAD's normalisation, else 0.0."""
    return float(squad_tokens(text) == squad_tokens(reference))


def token_f1(text: str, reference: str) -> float:
    """Harmonic mean of word precision and recall after SQuAD's normalisation, in [0, 1].

    Words count as often as they occur. Two empty texts are equal (1.0), one empty text shares nothing (0.0), as in
    SQuAD 2.0. Source: see `squad_tokens`.
    """
    said, wanted = squad_tokens(text), squad_tokens(reference)
    if not said or not wanted:
        return float(said == wanted)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def fact_recall(text: str, facts: Sequence[Sequence[str]]) -> float:
    """Share of the facts of which the text holds some accepted wording as whole words; nan without facts.

    A wording that is a bare number of one or two digits has to stand as a number of its own, outside of dates:
    "9" is not covered by "on 9 March" or "at 9:30".
    """
    if not facts:
        return float("nan")
    plain, counted, undated = normalize(text), numbers(text), numbers(without_dates(text))

    def covered(wording: str) -> bool:
        if wording.isdecimal():
            return wording in (undated if len(wording) <= 2 else counted)
        return bool(normalize(wording)) and contains(plain, wording)

    return sum(any(map(covered, wordings)) for wordings in facts) / len(facts)


def golds(question: Question) -> tuple[str, ...]:
    """Texts that count as a right answer for EM and F1: the reference, and the wordings if the question has one fact.

    EM and F1 take the maximum over them, as SQuAD does with its several annotators.
    """
    return (question.answer, *(question.facts[0] if len(question.facts) == 1 else ()))


def bootstrap_interval(values: Sequence[float], seed: int = 17, samples: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap interval (2.5 %, 97.5 %) of the mean; (nan, nan) without values.

    The values are the units that are resampled, one for each question. When all are equal the interval has no width:
    the bootstrap cannot see what it did not draw, so read it together with n.

    Source: Efron and Tibshirani 1993, chapter 13.

    Raises:
        ValueError: if `samples` is below 1.
    """
    import numpy as np

    if samples < 1:
        raise ValueError(f"need at least one bootstrap sample, got {samples}")
    if not len(values):
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(0, len(values), (samples, len(values)))
    low, high = np.percentile(np.asarray(values, dtype=float)[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def scores(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    chunks: Sequence[Chunk],
    documents: Sequence[Document] = (),
    seed: int = 17,
    samples: int = 2000,
) -> list[dict]:
    """Absolute scores of each system, each a mean over questions.

    - `fact_recall`, `f1`, `em`, `support` for scope local, global, and all (these two together),
    - `false_abstention`: share of answerable questions that the system declined (lower is better), same scopes,
    - `abstention`: share of unanswerable questions that it declined (higher is better), scope unanswerable,
    - `context_recall`: share of the evidence among the chunks it was given; only for systems that read chunks of
      `chunks`, and only when `documents` is given, since evidence is named by document.

    A blank answer scores 0; a question without any answer record is left out, and `n` says how many were scored.

    Returns:
        Rows {system, scope, metric, value, n, low, high}: by system in order of appearance, metric, scope.
    """
    corpus = Corpus(chunks)
    asked = {question.id: question for question in questions}
    values: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    latest = {(answer.system, answer.question_id): answer for answer in answers if answer.question_id in asked}
    context = _context_recall(documents, chunks)
    for answer in latest.values():
        question = asked[answer.question_id]
        scopes = (question.scope,) if question.scope == "unanswerable" else (question.scope, "all")
        for metric, value in {**_measures(question, answer, corpus), **context(question, answer)}.items():
            for scope in scopes:
                values[answer.system, metric, scope].append(value)
    return [
        _row(system, metric, scope, values[system, metric, scope], seed, samples)
        for system in dict.fromkeys(system for system, _ in latest)
        for metric in METRICS
        for scope in SCOPES
        if (system, metric, scope) in values
    ]


def _measures(question: Question, answer: Answer, corpus: Corpus) -> dict[str, float]:
    if question.scope == "unanswerable":
        return {"abstention": float(abstains(answer.text))}
    return {
        "fact_recall": fact_recall(answer.text, question.facts) if question.facts else 0.0,
        "f1": max(token_f1(answer.text, gold) for gold in golds(question)),
        "em": max(exact_match(answer.text, gold) for gold in golds(question)),
        "support": corpus.share_backed(answer.text),
        "false_abstention": float(abstains(answer.text)),
    }


def _context_recall(
    documents: Sequence[Document], chunks: Sequence[Chunk]
) -> Callable[[Question, Answer], dict[str, float]]:
    names = {document.id: str(PurePosixPath(document.name).with_suffix("")) for document in documents}
    by_id = {chunk.id: chunk for chunk in chunks}

    def recall(question: Question, answer: Answer) -> dict[str, float]:
        if not documents or not answer.context_ids or not question.evidence:
            return {}
        read = [by_id[chunk_id] for chunk_id in answer.context_ids if chunk_id in by_id]
        # a system with chunks of its own, or with reports: which document they are of is not known here
        if len(read) < len(answer.context_ids):
            return {}
        return {"context_recall": recall_at_k(read, question.evidence, names)}

    return recall


def _row(system: str, metric: str, scope: str, values: Sequence[float], seed: int, samples: int) -> dict:
    low, high = bootstrap_interval(values, seed, samples)
    mean = sum(values) / len(values)
    return {
        "system": system, "scope": scope, "metric": metric, "value": mean, "n": len(values), "low": low, "high": high
    }  # fmt: skip


def unanswered(questions: Sequence[Question], answers: Sequence[Answer]) -> list[Problem]:
    """One Problem for each question and system that has no answer or a blank one; its verdicts are invalid."""
    said = {(answer.question_id, answer.system): answer.text.strip() for answer in answers}
    return [
        Problem("07_judge", f"{question.id} {system}", "blank" if (question.id, system) in said else "missing")
        for system in dict.fromkeys(answer.system for answer in answers)
        for question in questions
        if not said.get((question.id, system))
    ]


def win_rates(verdicts: Sequence[Verdict], seed: int = 17, samples: int = 2000) -> list[WinRate]:
    """Win rate of system a over system b, counted by question; a tie is half a win.

        rate = (wins + ties / 2) / n,  n = wins + ties + losses

    Invalid verdicts are left out of n and reported beside it. The interval is the percentile bootstrap over questions
    (`bootstrap_interval`). Scope "all" pools what the criterion was judged on: all three scopes for "overall", local
    and global for the others; "abstention" is judged on unanswerable questions only and has no "all".

    Returns:
        One WinRate for each pair, criterion, judge and scope, pairs and criteria in order of appearance; rate, low and
        high are nan where n is 0.
    """
    groups: defaultdict[tuple[str, str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.system_a, verdict.system_b, verdict.criterion, verdict.judge].append(verdict)
    rates = []
    for key, group in groups.items():
        for scope in SCOPES:
            chosen = [verdict for verdict in group if scope in (verdict.scope, "all")]
            if chosen and not (scope == "all" and key[2] == "abstention"):
                rates.append(_win_rate(key, scope, chosen, seed, samples))
    return rates


def _win_rate(
    key: tuple[str, str, str, str], scope: str, verdicts: Sequence[Verdict], seed: int, samples: int
) -> WinRate:
    points = {"a": 1.0, "tie": 0.5, "b": 0.0}
    values = [points[verdict.winner] for verdict in verdicts if verdict.winner != "invalid"]
    low, high = bootstrap_interval(values, seed, samples)
    system, baseline, criterion, judge = key
    return WinRate(
        system=system,
        baseline=baseline,
        scope=scope,
        criterion=criterion,
        judge=judge,
        rate=sum(values) / len(values) if values else math.nan,
        low=low,
        high=high,
        n=len(values),
        ties=values.count(0.5),
        invalid=len(verdicts) - len(values),
    )


def wins_and_losses(rate: WinRate) -> tuple[int, int]:
    """Questions won and lost, from the rate and its counts; (0, 0) when nothing was judged."""
    if not rate.n:
        return 0, 0
    wins = round(rate.rate * rate.n - rate.ties / 2)
    return wins, rate.n - rate.ties - wins


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p-value of the sign test, ties left out: how often fair coins would be at least this uneven.

    1.0 without any win or loss. Source: Dixon and Mood 1946, doi:10.1080/01621459.1946.10501898.
    """
    n = wins + losses
    tail = sum(math.comb(n, count) for count in range(max(wins, losses), n + 1))
    return min(1.0, 2 * tail / 2**n)
