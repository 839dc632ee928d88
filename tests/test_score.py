import math
import random

import pytest

from ragtune_lib.records import Answer, Chunk, Document, Question, Verdict
from ragtune_lib.score import (
    bootstrap_interval,
    exact_match,
    fact_recall,
    scores,
    sign_test,
    squad_tokens,
    token_f1,
    unanswered,
    win_rates,
    wins_and_losses,
)

TEXT = "Zoltan carried lentil soup up the stairs."
CHUNKS = [Chunk("c0", "d0", 0, len(TEXT), TEXT, "2025-01-04"), Chunk("c1", "d1", 0, 5, "Rain.", "")]
DOCUMENTS = [Document("d0", "2025-01-04.md", "", TEXT, "2025-01-04"), Document("d1", "b.md", "", "Rain.", "")]
LOCAL = Question("q1", "local", "What?", "Zoltan carried lentil soup.", (("lentil soup",),), ("2025-01-04",))
GLOBAL = Question("q2", "global", "What?", "Soup and rain.", (("soup",), ("rain",)), ("2025-01-04", "b"))
NONE = Question("q3", "unanswerable", "Dog?", "The journal does not say.", (), ())


def verdict(number, winner, scope="local", criterion="overall"):
    return Verdict(f"q{number}", scope, criterion, "x", "y", winner, 0.0, 0.0, "reference")


def answer(question, text, system="x", context=()):
    return Answer(question.id, system, text, context, 1, 1, 0.1)


def test_squad_normalisation_drops_articles_case_and_punctuation():
    assert squad_tokens("The  Cat\u2019s a-hat, an \u201cowl\u201d!") == ["cats", "ahat", "owl"]
    assert exact_match("The lentil soup!", "lentil soup") == 1.0
    assert exact_match("lentil soup pan", "lentil soup") == 0.0


def test_token_f1_by_hand():
    assert token_f1("lentil soup up stairs", "hot lentil soup") == pytest.approx(
        2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3)
    )
    assert token_f1("soup soup", "soup") == pytest.approx(2 / 3)  # a word counts as often as it occurs
    assert token_f1("bread", "soup") == 0.0
    assert (token_f1("", "soup"), token_f1("the", "")) == (0.0, 1.0)


def test_f1_does_not_depend_on_the_order_of_words_or_texts():
    rng = random.Random(1)
    for _ in range(50):
        first, second = ([rng.choice("uvwxyz") for _ in range(rng.randrange(1, 7))] for _ in range(2))
        f1 = token_f1(" ".join(first), " ".join(second))
        assert f1 == pytest.approx(token_f1(" ".join(second), " ".join(sorted(first))))
        assert 0 <= f1 <= 1


def test_fact_recall_wants_whole_words_and_any_wording():
    facts = (("nine pounds", "9 pounds"), ("Ilse's boat",))
    assert fact_recall("It cost 9 pounds, for ilse\u2019s boat.", facts) == 1.0
    assert fact_recall("It cost nine pounds.", facts) == 0.5
    assert fact_recall("It cost ninety poundss, Ilse's boats.", facts) == 0.0
    assert math.isnan(fact_recall("anything", ()))


def test_a_bare_small_number_is_not_found_in_a_date_or_a_time():
    facts = (("9",),)
    assert fact_recall("On 9 March 2025 we met at 9:30.", facts) == 0.0
    assert fact_recall("On 9 March 2025 we paid 9 pounds.", facts) == 1.0
    assert fact_recall("It was finished in March 1874.", (("1874",),)) == 1.0
    assert fact_recall("It cost 1,340 pounds.", (("1340",),)) == 1.0


def test_win_rate_counts_ties_half_and_leaves_out_the_invalid():
    found = [verdict(number, winner) for number, winner in enumerate(["a"] * 6 + ["tie"] * 2 + ["b"] * 2 + ["invalid"])]
    rate = next(rate for rate in win_rates(found) if rate.scope == "local")
    assert (rate.rate, rate.n, rate.ties, rate.invalid) == (0.7, 10, 2, 1)
    assert rate.low < 0.7 < rate.high
    assert wins_and_losses(rate) == (6, 2)


def test_mirrored_verdicts_mirror_the_rate_and_its_interval():
    mixed = [verdict(number, "abtaa"[number % 5].replace("t", "tie")) for number in range(40)]
    swap = {"a": "b", "b": "a", "tie": "tie"}
    mirrored = [verdict(number, swap[one.winner]) for number, one in enumerate(mixed)]
    here, there = win_rates(mixed)[0], win_rates(mirrored)[0]
    assert here.rate == pytest.approx(1 - there.rate)
    assert (here.low, here.high) == pytest.approx((1 - there.high, 1 - there.low))


def test_all_pools_three_scopes_overall_and_abstention_has_no_all():
    found = [verdict(1, "a"), verdict(2, "a", "global"), verdict(3, "b", "unanswerable")]
    found += [verdict(1, "a", criterion="facts"), verdict(2, "b", "global", "facts")]
    found += [verdict(3, "b", "unanswerable", "abstention")]
    rates = {(rate.criterion, rate.scope): (rate.rate, rate.n) for rate in win_rates(found)}
    assert rates == {
        ("overall", "local"): (1.0, 1), ("overall", "global"): (1.0, 1), ("overall", "unanswerable"): (0.0, 1),
        ("overall", "all"): (pytest.approx(2 / 3), 3),
        ("facts", "local"): (1.0, 1), ("facts", "global"): (0.0, 1), ("facts", "all"): (0.5, 2),
        ("abstention", "unanswerable"): (0.0, 1),
    }  # fmt: skip


def test_nothing_judged_is_nan_and_not_a_win_or_a_loss():
    rate = win_rates([verdict(1, "invalid")])[0]
    assert (rate.n, rate.invalid) == (0, 1)
    assert math.isnan(rate.rate) and math.isnan(rate.low) and math.isnan(rate.high)
    assert wins_and_losses(rate) == (0, 0)
    assert win_rates([]) == []


def test_the_same_seed_gives_the_same_interval_and_another_a_similar_one():
    values = [1.0] * 30 + [0.0] * 20
    assert bootstrap_interval(values, 1) == bootstrap_interval(values, 1)
    low, high = bootstrap_interval(values, 2)
    half = 1.96 * math.sqrt(0.6 * 0.4 / 50)  # the normal approximation
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.03)


def test_more_questions_give_a_narrower_interval():
    few, many = bootstrap_interval([1.0, 0.0] * 5), bootstrap_interval([1.0, 0.0] * 200)
    assert many[1] - many[0] < few[1] - few[0]
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([1.0], samples=0)


def test_the_sign_test_is_the_exact_binomial():
    assert sign_test(5, 0) == sign_test(0, 5) == pytest.approx(2 / 32)
    assert sign_test(8, 2) == pytest.approx(2 * (45 + 10 + 1) / 1024)
    assert sign_test(3, 3) == sign_test(0, 0) == 1.0


def rows(answers, **more):
    found = scores([LOCAL, GLOBAL, NONE], answers, CHUNKS, **more)
    return {(row["system"], row["metric"], row["scope"]): row for row in found}


def test_scores_by_hand():
    found = rows(
        [
            answer(LOCAL, "Zoltan carried lentil soup."),
            answer(GLOBAL, "Soup. A dragon flew away."),
            answer(NONE, "The journal does not say."),
        ]
    )
    assert {key[1:]: row["value"] for key, row in found.items()} == {
        ("fact_recall", "local"): 1.0, ("fact_recall", "global"): 0.5, ("fact_recall", "all"): 0.75,
        ("f1", "local"): 1.0, ("f1", "global"): pytest.approx(2 / 7), ("f1", "all"): pytest.approx(9 / 14),
        ("em", "local"): 1.0, ("em", "global"): 0.0, ("em", "all"): 0.5,
        ("support", "local"): 1.0, ("support", "global"): 0.5, ("support", "all"): 0.75,
        ("abstention", "unanswerable"): 1.0,
        ("false_abstention", "local"): 0.0, ("false_abstention", "global"): 0.0, ("false_abstention", "all"): 0.0,
    }  # fmt: skip
    assert found["x", "f1", "all"]["n"] == 2
    assert all(row["low"] <= row["value"] <= row["high"] for row in found.values())


def test_a_wording_of_a_single_fact_is_a_right_answer_for_em():
    assert rows([answer(LOCAL, "The lentil soup")])["x", "em", "local"]["value"] == 1.0
    assert rows([answer(GLOBAL, "soup")])["x", "em", "global"]["value"] == 0.0


def test_a_blank_answer_scores_zero_and_a_missing_one_is_not_counted():
    found = rows([answer(LOCAL, ""), answer(LOCAL, "Lentil soup.", "y")])
    assert found["x", "fact_recall", "local"]["value"] == 0.0
    assert found["y", "fact_recall", "all"]["n"] == 1
    assert ("y", "fact_recall", "global") not in found


def test_declining_an_answerable_question_is_a_false_abstention():
    assert rows([answer(LOCAL, "I don't know.")])["x", "false_abstention", "local"]["value"] == 1.0


def test_context_recall_is_for_systems_that_read_chunks():
    found = rows([answer(GLOBAL, "Soup.", "x", ("c0",)), answer(GLOBAL, "Soup.", "y")], documents=DOCUMENTS)
    assert found["x", "context_recall", "global"]["value"] == 0.5
    assert ("y", "context_recall", "global") not in found


def test_every_missing_or_blank_answer_is_a_problem():
    found = unanswered([LOCAL, GLOBAL], [answer(LOCAL, "Soup."), answer(LOCAL, " ", "y"), answer(GLOBAL, "Rain.", "y")])
    assert [(problem.item, problem.reason) for problem in found] == [("q2 x", "missing"), ("q1 y", "blank")]
