"""How much answers say, counted in claims instead of judged: GraphRAG's check on its judge.

Comprehensiveness is the number of unique claims of an answer, diversity the number of groups of claims that are worded
differently (arXiv 2404.16130v2). Neither asks whether a claim is true: read them beside fact recall.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean

from ragtune_lib.llm import Call, Model, StageError, prompt
from ragtune_lib.llm.replies import TEXT, fields
from ragtune_lib.prompt_files import boundary, template
from ragtune_lib.records import Answer, ClaimList, Problem, Question
from ragtune_lib.score import SCOPES, bootstrap_interval
from ragtune_lib.text import normalize, words

STAGE = "07_judge"
THRESHOLDS = (0.5, 0.6, 0.7, 0.8)  # largest distance within a group, as published
SCHEMA = fields(claims={"type": "array", "items": TEXT})


def claim_calls(questions: Sequence[Question], answers: Sequence[Answer], max_tokens: int = 4096) -> Iterator[Call]:
    """One call for each answer that is not blank; of several to one question by one system the last counts."""
    asked = {question.id: question.question for question in questions}
    for answer in _latest(questions, answers):
        if answer.text.strip():
            text, question = answer.text.strip(), asked[answer.question_id]
            body = template("claims").substitute(mark=boundary(question, text), question=question, answer=text)
            yield Call(f"{answer.question_id} {answer.system}", prompt(body), max_tokens, schema=SCHEMA)


def extract_claims(
    model: Model, questions: Sequence[Question], answers: Sequence[Answer], max_tokens: int = 4096, stage: str = STAGE
) -> tuple[list[ClaimList], list[Problem]]:
    """Have a model list the claims of every answer; `model.forecast(claim_calls(...))` says what it will take.

    Returns:
        The claims of each answer in the order of the answers, an empty list for a blank one, and a Problem for each
        answer that could not be read; together one for each answer.

    Raises:
        StageError: if not one call succeeded.
    """
    lists: list[ClaimList] = []
    problems: list[Problem] = []
    results = model.stream(stage, claim_calls(questions, answers, max_tokens))
    try:
        for answer in _latest(questions, answers):
            claims: tuple[str, ...] = ()
            if answer.text.strip():
                result = next(results)
                if result.problem:
                    problems.append(result.problem)
                    continue
                claims = tuple(result.reply.data["claims"])
            lists.append(ClaimList(answer.question_id, answer.system, claims))
        next(results, None)
    except StageError as error:
        error.problems = error.problems or tuple(problems)
        raise
    return lists, problems


def _latest(questions: Sequence[Question], answers: Sequence[Answer]) -> list[Answer]:
    asked = {question.id for question in questions}
    latest = {(answer.question_id, answer.system): answer for answer in answers if answer.question_id in asked}
    return list(latest.values())


def unique(claims: Sequence[str]) -> list[str]:
    """Claims that differ after `text.normalize`, in order; those without any word are dropped.

    >>> unique(["Plums cost 9 pounds.", "plums cost 9 pounds", "..."])
    ['Plums cost 9 pounds.']
    """
    kept: dict[str, str] = {}
    for claim in claims:
        if key := normalize(claim):
            kept.setdefault(key, claim)
    return list(kept.values())


def rouge_l(one: str, other: str) -> float:
    """F-measure of ROUGE-L on lower-case words: 2 L / (m + n), in [0, 1].

    L is the length of the longest common subsequence, m and n are the numbers of words; 0 without words on a side. That
    is the harmonic mean of L / m and L / n.

    Source: Lin 2004, aclanthology.org/W04-1013, with equal weights and without stemming.

    >>> rouge_l("the cat sat on the mat", "the cat on a mat")
    0.7272727272727273
    """
    from rapidfuzz.distance import LCSseq

    first, second = words(one), words(other)
    total = len(first) + len(second)
    return 2 * LCSseq.similarity(first, second) / total if first and second else 0.0


def groups(claims: Sequence[str], thresholds: Sequence[float] = THRESHOLDS) -> list[int]:
    """Number of groups of unique claims at each threshold: agglomerative, complete linkage, distance 1 - ROUGE-L.

    Within a group any two claims are at most the threshold apart. 0 without claims.
    """
    distinct = unique(claims)
    if len(distinct) < 2:
        return [len(distinct)] * len(thresholds)
    from scipy.cluster.hierarchy import fcluster, linkage

    distances = [1 - rouge_l(one, other) for at, one in enumerate(distinct) for other in distinct[at + 1 :]]
    tree = linkage(distances, method="complete")
    return [int(fcluster(tree, threshold, criterion="distance").max()) for threshold in thresholds]


def claim_scores(
    questions: Sequence[Question], lists: Sequence[ClaimList], seed: int = 17, samples: int = 2000
) -> list[dict]:
    """Mean number of unique claims and of groups of claims for each answer, with bootstrap intervals over questions.

    Returns:
        Rows {system, scope, metric, value, n, low, high} as of `score.scores`, the metrics being `claims` and
        `claim_groups_0.5` to `claim_groups_0.8`; systems in order of appearance, then metric and scope.
    """
    scopes = {question.id: question.scope for question in questions}
    values: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    names = ("claims", *(f"claim_groups_{threshold}" for threshold in THRESHOLDS))
    for one in lists:
        counts = (len(unique(one.claims)), *groups(one.claims))
        for metric, count in zip(names, counts, strict=True):
            for scope in (scopes[one.question_id], "all"):
                values[one.system, metric, scope].append(float(count))
    rows = []
    for system in dict.fromkeys(one.system for one in lists):
        for metric in names:
            for scope in SCOPES:
                if found := values.get((system, metric, scope)):
                    low, high = bootstrap_interval(found, seed, samples)
                    rows.append(
                        {
                            "system": system, "scope": scope, "metric": metric, "value": fmean(found),
                            "n": len(found), "low": low, "high": high,
                        }
                    )  # fmt: skip
    return rows
