from dataclasses import replace

import pytest

from ragtune_lib.judges.reference import CRITERIA, Measures, better, directness, judge, overall, pairs_of
from ragtune_lib.records import Answer, Chunk, Question

TEXT = "Zoltan carried a pan of lentil soup up the stairs. It cost nine pounds at Nettlewick market."
CHUNKS = [Chunk("c0", "d0", 0, len(TEXT), TEXT, "2025-01-04")]
SOUP = Question(
    "q1", "local", "What did Zoltan carry?", "Zoltan carried lentil soup.", (("lentil soup", "lentils"),), ()
)
TWO = Question("q2", "global", "What and how much?", "Lentil soup for nine pounds.", (("soup",), ("nine", "9")), ())
NONE = Question("q3", "unanswerable", "Name of the dog?", "The journal does not say.", (), ())
MIRROR = {"a": "b", "b": "a", "tie": "tie", "invalid": "invalid"}


def verdicts(question, a, b):
    """Verdicts by criterion for two answers; None leaves the answer out."""
    answers = [Answer(question.id, s, text, (), 1, 1, 0.1) for s, text in (("x", a), ("y", b)) if text is not None]
    return {verdict.criterion: verdict for verdict in judge([question], answers, CHUNKS, [("x", "y")])}


def winners(question, a, b):
    return {criterion: verdict.winner for criterion, verdict in verdicts(question, a, b).items()}


SAID = [
    "Zoltan carried lentil soup.",
    "Zoltan carried goulash.",
    "Lentils.",
    "The journal does not say.",
    "A pan of soup for nine pounds.",
    "Some soup, I think, and a dragon from the mountain.",
    "",
    None,
]


@pytest.mark.parametrize("question", [SOUP, TWO, NONE])
def test_swapping_the_systems_mirrors_every_verdict(question):
    for first in SAID:
        for second in SAID:
            here, there = verdicts(question, first, second), verdicts(question, second, first)
            assert {c: MIRROR[v.winner] for c, v in here.items()} == {c: v.winner for c, v in there.items()}
            assert [(v.value_a, v.value_b) for v in here.values()] == [(v.value_b, v.value_a) for v in there.values()]


def test_an_answer_against_itself_is_a_tie_everywhere():
    assert set(winners(SOUP, SAID[0], SAID[0]).values()) == {"tie"}


def test_the_right_fact_wins_over_the_wrong_one():
    assert winners(SOUP, "Zoltan carried lentil soup.", "Zoltan carried goulash.")["overall"] == "a"


def test_more_facts_win_over_fewer_however_long():
    long = "A pan of soup went up the stairs, and it had cost nine pounds at Nettlewick market."
    verdict = verdicts(TWO, long, "Soup.")["overall"]
    assert (verdict.winner, verdict.value_a, verdict.value_b) == ("a", 1.0, 0.5)


def test_with_equal_facts_the_supported_answer_wins():
    invented = "Zoltan carried lentil soup. Then a dragon flew over the distant mountain."
    verdict = verdicts(SOUP, invented, "Zoltan carried lentil soup.")["overall"]
    assert (verdict.winner, verdict.value_a, verdict.value_b) == ("b", 0.5, 1.0)


def test_with_equal_facts_and_support_the_direct_answer_wins():
    wordy = "Zoltan carried a pan of lentil soup up the stairs."  # 10 words, the reference has 4
    verdict = verdicts(SOUP, wordy, "Zoltan carried lentil soup.")["overall"]
    assert (verdict.winner, verdict.value_a, verdict.value_b) == ("b", pytest.approx(0.4), 1.0)


def test_two_answers_that_cover_nothing_tie_whatever_their_support():
    assert winners(SOUP, "It cost nine pounds at Nettlewick market.", "A dragon flew.")["overall"] == "tie"


def test_a_lead_of_a_tenth_is_not_enough_overall():
    a = Measures(facts=1.0, support=1.0, directness=0.8, abstention=0.0)
    assert overall(a, replace(a, support=0.9)) == ("tie", "facts")
    assert overall(a, replace(a, support=0.89)) == ("a", "support")
    assert overall(a, replace(a, support=0.95, directness=0.95)) == ("b", "directness")


def test_better_names_the_higher_value():
    assert [better(1, 0), better(0, 1), better(0.1 + 0.2, 0.3)] == ["a", "b", "tie"]


def test_unanswerable_questions_are_won_by_the_one_that_declines():
    declines, invents = "The journal does not say.", "The dog is called Rex."
    assert winners(NONE, declines, invents) == {"overall": "a", "abstention": "a"}
    assert winners(NONE, invents, invents) == {"overall": "tie", "abstention": "tie"}
    assert winners(NONE, declines, declines) == {"overall": "tie", "abstention": "tie"}


@pytest.mark.parametrize("missing", ["", " \n", None])
def test_a_missing_or_blank_answer_makes_every_verdict_invalid(missing):
    assert winners(SOUP, missing, "Zoltan carried lentil soup.") == dict.fromkeys(CRITERIA, "invalid")
    assert set(winners(NONE, "Rex.", missing).values()) == {"invalid"}


def test_every_question_pair_and_criterion_has_one_verdict():
    answers = [Answer(q.id, s, "Lentil soup.", (), 1, 1, 0.1) for q in (SOUP, TWO, NONE) for s in ("x", "y", "z")]
    found = judge([SOUP, TWO, NONE], answers, CHUNKS, [("x", "y"), ("x", "z")])
    keys = [(v.question_id, v.system_a, v.system_b, v.criterion) for v in found]
    assert len(keys) == len(set(keys)) == 2 * (4 + 4 + 2)
    assert {v.judge for v in found} == {"reference"}


def test_directness_halves_at_twice_the_length_of_the_reference():
    facts = (("soup",),)
    assert directness("soup " * 4, "one two three four", facts) == 1.0
    assert directness("soup", "one two three four", facts) == 1.0
    assert directness("soup " * 8, "one two three four", facts) == 0.5
    assert directness("soup " * 8, "one two three four", (("soup",), ("bread",))) == 0.25
    assert directness("bread", "one two", facts) == directness("", "one two", facts) == 0.0


def test_pairs_name_each_two_systems_once_and_the_tuned_first():
    pairs = pairs_of(["mine", "base", "rag_tuned_rag", "vanilla_rag", "rag_tuned"])
    assert len(pairs) == 10 == len({frozenset(pair) for pair in pairs})
    assert pairs[0] == ("rag_tuned", "rag_tuned_rag")
    assert all(pair[0] == "rag_tuned" for pair in pairs if "rag_tuned" in pair)
    assert ("base", "mine") in pairs
