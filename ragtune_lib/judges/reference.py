"""The reference judge: compares two answers by counting, without any model's opinion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ragtune_lib.records import Answer, Chunk, Question, Verdict, Winner
from ragtune_lib.score import fact_recall
from ragtune_lib.support import Corpus, abstains
from ragtune_lib.text import words

JUDGE = "reference"
CRITERIA = ("overall", "facts", "support", "directness")  # local and global questions
UNANSWERABLE_CRITERIA = ("overall", "abstention")
MARGIN = 0.1  # what counts as clearly better in support or directness, for the overall verdict
SYSTEMS = ("rag_tuned", "rag_tuned_rag", "vanilla_rag", "long_context", "base")


@dataclass(frozen=True, slots=True)
class Measures:
    """What the judge counts in one answer, each in [0, 1]."""

    facts: float
    support: float
    directness: float
    abstention: float  # 1 when the answer declines to answer


def pairs_of(systems: Iterable[str]) -> list[tuple[str, str]]:
    """Every unordered pair of systems once, the tuned ones first, unknown names last and sorted.

    >>> pairs_of(["base", "vanilla_rag", "rag_tuned"])
    [('rag_tuned', 'vanilla_rag'), ('rag_tuned', 'base'), ('vanilla_rag', 'base')]
    """
    present = set(systems)
    ordered = [system for system in SYSTEMS if system in present] + sorted(present - set(SYSTEMS))
    return list(combinations(ordered, 2))


def directness(answer: str, reference: str, facts: Sequence[Sequence[str]]) -> float:
    """How much of the answer is the asked fact: share of facts covered x min(1, r / n).

    n is the number of words of the answer and r that of the reference answer, so an answer that covers everything
    keeps 1 up to the reference's length, has 1/2 at twice and 1/3 at three times that length. 0 when no fact is
    covered. Ours; GraphRAG (arXiv 2404.16130) has directness as the control against mere length.
    """
    length = len(words(answer))
    if not length:
        return 0.0
    return fact_recall(answer, facts) * min(1.0, max(1, len(words(reference))) / length)


def measure(question: Question, answer: str, corpus: Corpus) -> Measures:
    """Count what the judge compares: facts covered, sentences backed by the corpus, directness, abstention."""
    return Measures(
        facts=fact_recall(answer, question.facts) if question.facts else 0.0,
        support=corpus.share_backed(answer),
        directness=directness(answer, question.answer, question.facts) if question.facts else 0.0,
        abstention=float(abstains(answer)),
    )


def overall(a: Measures, b: Measures) -> tuple[Winner, str]:
    """Who wins an answerable question, and by which criterion it was decided.

    1. The answer that covers more of the reference facts wins.
    2. Both cover nothing: a tie, however well written they are.
    3. Equal and more than nothing: the better supported one wins if it leads by more than 0.1,
    4. else the more direct one if it leads by more than 0.1,
    5. else a tie.
    """
    by_facts = better(a.facts, b.facts)
    if by_facts != "tie" or a.facts == 0:
        return by_facts, "facts"
    for criterion in ("support", "directness"):
        winner = better(getattr(a, criterion), getattr(b, criterion), MARGIN)
        if winner != "tie":
            return winner, criterion
    return "tie", "facts"


def better(a: float, b: float, margin: float = 0.0) -> Winner:
    """Compare two values; a lead of no more than `margin` is a tie."""
    lead = a - b
    if abs(lead) <= margin + 1e-9:
        return "tie"
    return "a" if lead > 0 else "b"


def judge(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    chunks: Sequence[Chunk],
    pairs_of_systems: Sequence[tuple[str, str]],
) -> list[Verdict]:
    """Compare the systems pair by pair on every question, by every criterion.

    Local and global questions are judged by `facts`, `support`, `directness` and `overall`. Unanswerable ones are
    judged by `abstention` and by `overall`, which is the same there: who declines to answer wins over who does not.
    The rule of `overall` is in the function of that name; its two values are those of the criterion that decided.

    Nothing depends on the order of a pair: swapping the systems mirrors every verdict. A question that one of the two
    left without an answer (missing, or blank) gets the winner "invalid", with value 0 for the missing one.

    Args:
        questions: held-out questions with their facts.
        answers: one answer for each question and system; of several, the last counts.
        chunks: the corpus that has to back the answers.
        pairs_of_systems: (a, b) to compare, e.g. from `pairs_of`.

    Returns:
        One Verdict for each question, pair and criterion of its scope, in that order.
    """
    corpus = Corpus(chunks)
    said = {(answer.question_id, answer.system): answer.text for answer in answers if answer.text.strip()}
    needed = {system for pair in pairs_of_systems for system in pair}
    measures = {
        (question.id, system): measure(question, said[question.id, system], corpus)
        for question in questions
        for system in needed
        if (question.id, system) in said
    }
    return [
        verdict
        for question in questions
        for pair in pairs_of_systems
        for verdict in _compare(question, pair, *(measures.get((question.id, system)) for system in pair))
    ]


def _compare(question: Question, pair: tuple[str, str], a: Measures | None, b: Measures | None) -> list[Verdict]:
    unanswerable = question.scope == "unanswerable"
    nothing = Measures(facts=0.0, support=0.0, directness=0.0, abstention=0.0)
    verdicts = []
    for criterion in UNANSWERABLE_CRITERIA if unanswerable else CRITERIA:
        winner, deciding = _decide(criterion, unanswerable, a or nothing, b or nothing)
        verdicts.append(
            Verdict(
                question_id=question.id,
                scope=question.scope,
                criterion=criterion,
                system_a=pair[0],
                system_b=pair[1],
                winner=winner if a and b else "invalid",
                value_a=getattr(a or nothing, deciding),
                value_b=getattr(b or nothing, deciding),
                judge=JUDGE,
            )
        )
    return verdicts


def _decide(criterion: str, unanswerable: bool, a: Measures, b: Measures) -> tuple[Winner, str]:
    if criterion == "overall" and not unanswerable:
        return overall(a, b)
    deciding = "abstention" if unanswerable else criterion
    return better(getattr(a, deciding), getattr(b, deciding)), deciding
