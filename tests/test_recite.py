import math

import pytest
import tiny

from ragtune_lib.generate import Decoder, generate
from ragtune_lib.likelihood import log_likelihood
from ragtune_lib.models import chat_prompt, load_model, load_tokenizer
from ragtune_lib.recite import Recalled, Recital, _most_believed, answer_by_reciting, first_tokens, recall, tell
from ragtune_lib.training_set import AFTER_CUES, ONE, SEVERAL, without_cues

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


@pytest.mark.parametrize("longest", [1, 5, 12, 40])
def test_recitals_begin_with_the_likeliest_first_tokens_and_the_first_is_the_greedy_answer(small, longest):
    model, tokenizer = small
    found = recall(model, model, tokenizer, QUESTIONS, 4, longest)
    greedy = generate(model, tokenizer, [chat_prompt(tokenizer, question) for question in QUESTIONS], longest)
    assert [row.recitals[0].text for row in found] == [without_cues(text) for text in greedy]
    assert all(len(row.recitals) == 4 and not row.several for row in found)
    opening = min(longest, 12)
    most = 8 * opening + 4 * (longest - opening)  # twice as many are begun
    assert all(8 <= row.cost <= most for row in found)
    assert all(recital.confidence < 0 and recital.fit < 0 for row in found for recital in row.recitals)
    assert all(recital.tokens == len(ids(tokenizer, recital.text)) for row in found for recital in row.recitals)


def test_recitals_are_as_sure_as_the_model_finds_their_words_likely(small, monkeypatch):
    model, tokenizer = small
    caught = []
    monkeypatch.setattr(
        "ragtune_lib.recite._compared", lambda base, tokenizer, asked, said, _: caught.extend(said) or [[]] * len(asked)
    )
    recall(model, model, tokenizer, QUESTIONS, 3, 30)
    assert [at for at, *_ in caught] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert max(len(said) for _, said, _ in caught) == 30
    prompts = [ids(tokenizer, chat_prompt(tokenizer, question)) for question in QUESTIONS]
    expected = log_likelihood(model, tokenizer, [(prompts[at], said) for at, said, _ in caught])
    assert [sure for *_, sure in caught] == pytest.approx(expected, abs=1e-3)


def test_an_end_token_never_begins_a_recital():
    import torch

    begun = first_tokens(torch.tensor([[5.0, 1.0, 3.0, 2.0], [0.0, 9.0, 0.0, 0.5]]), {0}, 2)
    assert [[token for token, _ in row] for row in begun] == [[2, 3], [1, 3]]
    total = sum(math.exp(score) for score in (5, 1, 3, 2))
    assert begun[0][0][1] == pytest.approx(3 - math.log(total))  # of all that it might have said, the end among it


def said(text, confidence=-1.0, fit=-20.0):
    return Recital(text, confidence, fit, len(text.split()))


def told(*recitals, several=False, room=96):
    return tell(Recalled(list(recitals), several, 0), room)


def test_the_best_recital_is_the_one_that_the_question_fits():
    sure, fitting = said("Tomas slept.", -1.0, -30.0), said("Ilse sold jam.", -6.0, -20.0)
    assert told(sure, fitting) == told(fitting, sure) == "Ilse sold jam."
    assert told(sure, said("Ilse sold jam.", -60.0, -20.0)) == "Tomas slept."  # invented: hardly believed itself
    assert said("a", -10.0, -20.0).score == -30.0


@pytest.mark.parametrize("several", [False, True])
def test_a_first_thought_that_declines_stands_and_what_says_nothing_does_not_count(several):
    jam = said("Ilse sold jam.", -6.0, -20.0)
    assert told(said(REFUSAL, -1.0, -40.0), jam, several=several) == REFUSAL
    assert told(jam, said(REFUSAL, -1.0, -1.0), several=several) == "Ilse sold jam."
    for nothing in ("", "<think>\nIlse sold jam, and"):
        assert told(said(nothing, -1.0, 0.0), jam, several=several) == "Ilse sold jam."


def test_openings_that_are_hardly_believed_beside_the_likeliest_are_given_up():
    owners = [0, 0, 0, 0, 1, 1, 1]
    belief = [-12.0, -2.0, -8.9, -9.1, -1.0, -1.5, -1.2]  # a gap of 7
    assert _most_believed(owners, belief, 4) == [0, 1, 2, 4, 5, 6]  # the greedy one always stays
    assert _most_believed(owners, belief, 2) == [0, 1, 4, 6]
    assert _most_believed(owners, belief, 1) == [0, 4]


def test_several_recitals_are_told_best_first_as_far_as_there_is_room():
    jam, boat, nap = (
        said("Ilse sold jam.", fit=-10.0),
        said("Tomas painted the boat.", fit=-9.0),
        said("Nap.", fit=-30.0),
    )
    assert told(nap, jam, boat, several=True) == "Tomas painted the boat. Ilse sold jam. Nap."
    assert told(nap, jam, boat, several=True, room=7) == "Tomas painted the boat. Ilse sold jam."
    assert told(nap, jam, boat, several=True, room=6) == "Tomas painted the boat. Nap."  # what fits is not lost
    assert told(nap, jam, boat, several=True, room=2) == "Tomas painted the boat."
    assert told(nap, jam, boat) == "Tomas painted the boat."


def test_nothing_is_told_twice():
    recitals = [said("ilse sold jam"), said("Ilse sold jam.", fit=-10.0), said("Ilse sold jam. Often.", fit=-11.0)]
    assert told(*recitals, several=True) == "Ilse sold jam."


@pytest.mark.parametrize(("lead", "several"), [(1.0, True), (-1.0, True), (-2.0, True), (-2.4, False), (-9.0, False)])
def test_several_are_told_where_their_mark_has_a_tenth_of_both(small, monkeypatch, lead, several):
    model, tokenizer = small
    one, many = (ids(tokenizer, mark)[-1] for mark in (ONE, SEVERAL))
    begin = Decoder.__init__
    read = []

    def first_says_a_mark(self, model, tokenizer, prompts, *rest):
        begin(self, model, tokenizer, prompts, *rest)
        read.append([list(prompt) for prompt in prompts])
        if len(read) == 1:  # the first question alone; log(1 / 9) = -2.2
            self.logits = self.logits.clone()
            self.logits[0, one] = self.logits.max() + 20
            self.logits[0, many] = self.logits[0, one] + lead

    monkeypatch.setattr(Decoder, "__init__", first_says_a_mark)
    found = recall(model, model, tokenizer, QUESTIONS, 2, 8)
    assert [row.several for row in found] == [several, False, False]
    assert read[1] == [[*read[0][0], many if several else one], *read[0][1:]]
    assert all(1 <= len(row.recitals) <= 2 for row in found)
    read.clear()
    plain = recall(model, model, tokenizer, QUESTIONS, 2, 8, marks=False)
    assert len(read) == 1 and not any(row.several for row in plain)  # one that has learnt no marks may begin a list


def test_groups_are_reported_as_they_are_done_and_do_not_change_the_answers(small):
    model, tokenizer = small
    calls = []
    texts = answer_by_reciting(model, model, tokenizer, QUESTIONS, 3, 12, lambda *call: calls.append(call), together=2)
    assert [group for group, _, _ in calls] == [[0, 1], [2]]
    assert [text for _, found, _ in calls for text in found] == texts
    assert answer_by_reciting(model, model, tokenizer, QUESTIONS, 3, 12, together=16) == texts
    assert answer_by_reciting(model, model, tokenizer, [], 3, 12) == []


def test_cues_are_taken_off_what_the_model_says():
    assert without_cues(f"{ONE} soup, luck{AFTER_CUES}He carried soup.") == "He carried soup."
    assert without_cues("He carried soup.") == "He carried soup."
    assert without_cues(f"{SEVERAL} a{AFTER_CUES}b{AFTER_CUES}c") == f"b{AFTER_CUES}c"
