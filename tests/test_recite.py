import math

import pytest
import tiny

from ragtune_lib.generate import generate
from ragtune_lib.models import chat_prompt, load_model, load_tokenizer
from ragtune_lib.recite import Recital, answer_by_reciting, choose, first_tokens, log_likelihood, recitals
from ragtune_lib.training_set import AFTER_CUES, without_cues

one_thread = pytest.fixture(scope="module", autouse=True)(tiny.one_thread)
QUESTIONS = ["Who sold jam?", "What did the doctor say about the left knee?", "When?"]
REFUSAL = "The journal does not say."


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    spec = tiny.save_model(tmp_path_factory.mktemp("model"))
    return load_model(spec).float(), load_tokenizer(spec)


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_the_log_likelihood_is_the_sum_over_the_text_alone_whatever_the_batch(small):
    import torch

    model, tokenizer = small
    pairs = [(ids(tokenizer, context), ids(tokenizer, text)) for context, text in [("Who", " is it?"), ("abc", "d"), ("a" * 30, "be")]]  # fmt: skip
    expected = []
    for context, text in pairs:
        with torch.inference_mode():
            chances = model(torch.tensor([context + text])).logits[0].log_softmax(-1)
        expected.append(sum(float(chances[len(context) + at - 1, token]) for at, token in enumerate(text)))
    for limit in (1, 40, 2_000):
        assert log_likelihood(model, tokenizer, pairs, limit) == pytest.approx(expected, abs=1e-3)
    assert log_likelihood(model, tokenizer, []) == []


def test_recitals_begin_with_the_likeliest_first_tokens_and_the_first_is_the_greedy_answer(small):
    model, tokenizer = small
    prompts = [ids(tokenizer, chat_prompt(tokenizer, question)) for question in QUESTIONS]
    begun = first_tokens(model, tokenizer, prompts, 4)
    assert all(len(set(row)) == 4 for row in begun)
    found, costs = recitals(model, model, tokenizer, QUESTIONS, 4, 12)
    greedy = generate(model, tokenizer, [chat_prompt(tokenizer, question) for question in QUESTIONS], 12)
    assert [row[0].text for row in found] == [without_cues(text) for text in greedy]
    assert all(len(row) == 4 for row in found)
    assert all(16 <= cost <= 16 * 12 for cost in costs)  # four times as many are begun
    assert all(recital.confidence < 0 and recital.fit < 0 for row in found for recital in row)


def test_an_end_token_never_begins_a_recital(small):
    import torch

    model, tokenizer = small

    class Ending:
        device = model.device

        def __call__(self, **options):
            step = model(**options)
            step.logits[..., tokenizer.eos_token_id] = 1e4
            return step

    with torch.inference_mode():
        begun = first_tokens(Ending(), tokenizer, [ids(tokenizer, "Who?")], 3)
    assert tokenizer.eos_token_id not in begun[0]


def test_the_best_recital_is_the_one_that_the_question_fits():
    sure, fitting = Recital("Tomas slept.", -1.0, -30.0), Recital("Ilse sold jam.", -6.0, -20.0)
    assert choose([sure, fitting]) == "Ilse sold jam."
    assert choose([fitting, sure]) == "Ilse sold jam."
    assert choose([sure, Recital("Ilse sold jam.", -60.0, -20.0)]) == "Tomas slept."  # invented: hardly believed itself


def test_a_first_thought_that_declines_stands_and_a_later_one_does_not_count():
    assert choose([Recital(REFUSAL, -1.0, -40.0), Recital("Ilse sold jam.", -6.0, -20.0)]) == REFUSAL
    assert choose([Recital("Ilse sold jam.", -6.0, -20.0), Recital(REFUSAL, -1.0, -1.0)]) == "Ilse sold jam."
    assert choose([Recital("", -1.0, 0.0), Recital("Ilse sold jam.", -6.0, -20.0)]) == "Ilse sold jam."
    assert math.isclose(Recital("a", -10.0, -20.0).score, -22.0)


def test_groups_are_reported_as_they_are_done_and_do_not_change_the_answers(small):
    model, tokenizer = small
    calls = []
    texts = answer_by_reciting(model, model, tokenizer, QUESTIONS, 3, 12, lambda *call: calls.append(call), together=2)
    assert [group for group, _, _ in calls] == [[0, 1], [2]]
    assert [text for _, found, _ in calls for text in found] == texts
    assert answer_by_reciting(model, model, tokenizer, QUESTIONS, 3, 12, together=16) == texts
    assert answer_by_reciting(model, model, tokenizer, [], 3, 12) == []


def test_cues_are_taken_off_what_the_model_says():
    assert without_cues(f"soup, luck{AFTER_CUES}He carried soup.") == "He carried soup."
    assert without_cues("He carried soup.") == "He carried soup."
    assert without_cues(f"a{AFTER_CUES}b{AFTER_CUES}c") == f"b{AFTER_CUES}c"
