import random
from itertools import pairwise

import pytest
import tiny

from ragtune_lib.generate import Decoder, Prefix, batches_by_length, generate, generate_ids, stop_ids
from ragtune_lib.models import chat_prompt, load_model, load_tokenizer

one_thread = pytest.fixture(scope="module", autouse=True)(tiny.one_thread)
PROMPTS = [
    "Who?",
    "What did Ilse sell at the harbour?",
    "",
    "Tell me about the red boat.",
    "a",
    "b" * 90,
    "Zoë \U0001f600?",
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A random model and its tokenizer, loaded as the user's own folder would be."""
    spec = tiny.save_model(tmp_path_factory.mktemp("model"))
    return load_model(spec).float(), load_tokenizer(spec)


def alone(small, prompt, tokens):
    """Greedy continuation of one prompt by the plainest loop: no cache, no batch."""
    import torch

    model, tokenizer = small
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    made = []
    with torch.inference_mode():
        for _ in range(tokens):
            made.append(int(model(torch.tensor([ids + made])).logits[0, -1].argmax()))
            if made[-1] in stop_ids(tokenizer):
                return made[:-1]
    return made


@pytest.mark.parametrize("seed", range(5))
def test_batches_hold_each_position_once_longest_first_within_the_limit(seed):
    chooser = random.Random(seed)
    lengths = [chooser.randint(1, 300) for _ in range(chooser.randint(1, 80))]
    groups = list(batches_by_length(lengths, 600))
    assert sorted(at for group in groups for at in group) == list(range(len(lengths)))
    assert all(max(lengths[at] for at in group) * len(group) <= 600 for group in groups)
    flat = [lengths[at] for group in groups for at in group]
    assert flat == sorted(lengths, reverse=True)
    for group, following in pairwise(groups):
        assert lengths[group[0]] * (len(group) + 1) > 600, "one more would have fitted"
        assert lengths[following[0]] <= lengths[group[-1]]


def test_a_batch_is_cut_where_the_padded_size_would_pass_the_limit():
    assert list(batches_by_length([3, 10, 4, 10, 1], 20)) == [[1, 3], [2, 0, 4]]
    assert list(batches_by_length([50, 1], 20)) == [[0], [1]]  # longer than the limit: alone
    assert list(batches_by_length([], 20)) == []


def test_an_answer_ends_at_the_end_of_text_and_at_the_end_of_a_turn(small):
    _, tokenizer = small
    names = tokenizer.get_vocab()
    assert stop_ids(tokenizer) == [names["<|im_end|>"]]
    other = tiny.byte_tokenizer()
    other.eos_token = "<|endoftext|>"
    assert stop_ids(other) == sorted([names["<|endoftext|>"], names["<|im_end|>"]])


def test_generated_texts_come_in_the_order_of_the_prompts_whatever_the_batches(small):
    prompts = [prompt for prompt in PROMPTS if prompt]
    expected = [small[1].decode(alone(small, prompt, 12), skip_special_tokens=True).strip() for prompt in prompts]
    assert len(set(expected)) > 3, "the stand-in says too little to tell prompts apart"
    for limit in (1, 150, 10_000):
        assert generate(*small, prompts, 12, batch_tokens=limit) == expected
    assert generate(*small, prompts[::-1], 12) == expected[::-1]
    assert generate(*small, [], 12) == []


def test_a_model_with_a_sliding_window_answers_as_the_plainest_loop_does(tmp_path):
    spec = tiny.save_model(tmp_path, sliding=16)
    slides = load_model(spec).float(), load_tokenizer(spec)
    prompts = [prompt for prompt in PROMPTS if prompt]
    expected = [slides[1].decode(alone(slides, prompt, 24), skip_special_tokens=True).strip() for prompt in prompts]
    assert generate(*slides, prompts, 24) == expected


def test_each_finished_batch_is_reported_once_with_its_counts(small):
    prompts = [prompt for prompt in PROMPTS if prompt]
    calls = []
    texts = generate(*small, prompts, 12, batch_tokens=150, done=lambda *call: calls.append(call))
    assert len(calls) > 1
    assert sorted(at for group, *_ in calls for at in group) == list(range(len(prompts)))
    for group, found, counts, seconds in calls:
        assert found == [texts[at] for at in group]
        assert seconds > 0
        for at, count in zip(group, counts, strict=True):
            assert count == len(alone(small, prompts[at], 12))


def test_sampling_repeats_with_its_seed_and_differs_from_greedy(small):
    prompts = ["Who was it?", "What?"]
    first = generate(*small, prompts, 20, temperature=1.5, seed=1)
    assert generate(*small, prompts, 20, temperature=1.5, seed=1) == first
    assert generate(*small, prompts, 20, temperature=1.5, seed=2) != first
    assert generate(*small, prompts, 20) != first


TEXT = "A long text that stands before every question.\n"


@pytest.fixture(scope="module")
def prefix(small):
    return Prefix(*small, TEXT)


@pytest.mark.parametrize("limit", [1, 300, 10_000])
def test_a_prefix_read_once_gives_what_reading_it_each_time_gives(small, prefix, limit):
    prompts = [prompt for prompt in PROMPTS if prompt]
    expected = [
        small[1].decode(alone(small, TEXT + prompt, 24), skip_special_tokens=True).strip() for prompt in prompts
    ]
    assert generate(*small, prompts, 24, batch_tokens=limit, prefix=prefix) == expected
    assert generate(*small, prompts[::-1], 24, batch_tokens=limit, prefix=prefix) == expected[::-1]
    assert generate(*small, prompts, 24) != expected, "the prefix changes nothing"


def test_some_answers_end_before_others_and_the_others_go_on(small, prefix):
    counts = {}
    tried = [f"{at}?" for at in range(60)]

    def note(group, _, found, __):
        counts.update(zip(group, found, strict=True))

    generate(*small, tried, 40, done=note, prefix=prefix)
    early = [tried[at] for at, count in sorted(counts.items()) if 0 < count < 30][:3]
    late = [tried[at] for at, count in sorted(counts.items()) if count == 40][:3]
    assert early and late, "choose another seed for the stand-in"
    found = {prompt: alone(small, TEXT + prompt, 40) for prompt in early + late}
    prompts = [late[0], *early, *late[1:]]
    ids = [small[1](prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    assert generate_ids(*small, ids, 40, prefix=prefix) == [found[prompt] for prompt in prompts]


def test_no_tokens_wanted_are_none_given(small, prefix):
    assert generate(*small, ["Who?", "What?"], 0, prefix=prefix) == ["", ""]


def test_sampling_after_a_prefix_repeats_with_its_seed(small, prefix):
    prompts = ["Who was it?", "What?"]
    first = generate(*small, prompts, 20, temperature=1.5, seed=1, prefix=prefix)
    assert generate(*small, prompts, 20, temperature=1.5, seed=1, prefix=prefix) == first
    assert generate(*small, prompts, 20, temperature=1.5, seed=2, prefix=prefix) != first


def test_a_model_that_cannot_share_a_prefix_is_refused(small):
    model, tokenizer = small
    model.config._attn_implementation = "sdpa"
    try:
        with pytest.raises(ValueError, match="load_model"):
            Prefix(model, tokenizer, TEXT)
    finally:
        model.config._attn_implementation = "grouped"


def test_a_prompt_that_is_there_often_is_read_once_and_answered_each_time(small, monkeypatch):
    read = []

    class Watched(Decoder):
        def __init__(self, model, tokenizer, prompts, prefix=None):
            read.extend(prompts)
            super().__init__(model, tokenizer, prompts, prefix)

    monkeypatch.setattr("ragtune_lib.generate.Decoder", Watched)
    prompts = ["Who?", "What is it?", "Who?", "Who?"]
    greedy = generate(*small, prompts, 12)
    assert len(read) == 2
    assert greedy == [generate(*small, [prompt], 12)[0] for prompt in prompts]
    assert len(set(generate(*small, prompts, 12, temperature=1.5))) == 4


def test_rows_can_be_chosen_repeated_and_continued(small):
    model, tokenizer = small
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("Who?", "What is it called?", "When")]
    ends = set(stop_ids(tokenizer))
    decoder = Decoder(model, tokenizer, ids)
    decoder.select([2, 0, 0])
    first, _, live = decoder.extend(3, ends)
    assert live == [0, 1, 2], "choose another seed for the stand-in"
    decoder.append([row[-1] for row in first])
    rest, *_ = decoder.extend(50, ends)
    whole = [a + b for a, b in zip(first, rest, strict=True)]
    assert whole == [alone(small, text, 53) for text in ("When", "Who?", "Who?")]


def test_the_weight_of_what_was_said_is_its_log_probability(small):
    import torch

    model, tokenizer = small
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("Who?", "Tell me all about it.")]
    said, belief, _ = Decoder(model, tokenizer, prompts).extend(9, set(stop_ids(tokenizer)), weigh=True)
    for prompt, ids, given in zip(prompts, said, belief, strict=True):
        with torch.inference_mode():
            chances = model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
        expected = sum(float(chances[len(prompt) + at - 1, token]) for at, token in enumerate(ids))
        assert given == pytest.approx(expected, abs=1e-3)


@pytest.mark.model
def test_the_embedded_model_knows_a_capital():
    model, tokenizer = load_model("embedded"), load_tokenizer("embedded")
    assert "Paris" in generate(model, tokenizer, [chat_prompt(tokenizer, "What is the capital of France?")], 24)[0]


@pytest.mark.model
def test_the_embedded_model_answers_after_a_prefix_as_it_answers_without():
    model, tokenizer = load_model("embedded").float(), load_tokenizer("embedded")
    head, tail = chat_prompt(tokenizer, "The hen is called Berta. The dog is called Max.<<>>").split("<<>>")
    asked = [" How is the hen called?", " How is the dog called?"]
    found = generate(model, tokenizer, [text + tail for text in asked], 16, prefix=Prefix(model, tokenizer, head))
    assert found == generate(model, tokenizer, [head + text + tail for text in asked], 16)


def test_a_text_of_ones_own_ends_an_answer_too(small):
    prompts = [prompt for prompt in PROMPTS if prompt]
    plain = generate(*small, prompts, 40)
    letter = next(sign for text in plain for sign in text[3:] if sign.isalpha())
    stopped = generate(*small, prompts, 40, stop=letter)
    assert stopped == [text.split(letter)[0].strip() for text in plain]
    assert stopped != plain
