import random
import re
from collections import Counter
from dataclasses import replace

import pytest
import tiny

from ragtune_lib.models import chat_prompt
from ragtune_lib.records import Example, QAPair
from ragtune_lib.support import is_cut_thought
from ragtune_lib.text import normalize
from ragtune_lib.training_set import (
    ONE,
    SEVERAL,
    make_examples,
    masked_example,
    target_text,
    tokenize,
    within_limit,
    without_cues,
    without_thought,
)

SOLD = QAPair(
    "p1", "local", "entity", "What did Ilse sell?", "Ilse sold jam. (6 May)", "jam", ("c1",), "template", "f1"
)
UNIT = replace(SOLD, id="p2", reasoning="On 6 May: Ilse sold jam.", answer="Ilse sold jam.")


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.byte_tokenizer()


def example(question="What?", target="Jam.", split="train"):
    return Example("e1", "p1", question, target, split)


def many(local=30, wide=6, absent=5, wordings=4):
    """Pairs in the proportions of a real set: local facts, global ones, and abstentions of a single wording."""
    pairs = []
    for fact in range(local):
        for at in range(wordings):
            span = at % 2
            answer = f"thing {fact}" if span else f"Ilse sold thing {fact} on a very long and rainy day."
            pairs.append(
                replace(SOLD, id=f"l{fact}-{at}", question=f"Wording {at} of fact {fact}?", fact_id=f"l{fact}",
                        reasoning=f"Ilse sold thing {fact} on a very long and rainy day.", answer=answer)
            )  # fmt: skip
    for fact in range(wide):
        pairs += [replace(UNIT, id=f"g{fact}-{at}", question=f"Wide wording {at} of {fact}?", fact_id=f"g{fact}", scope="global") for at in range(2)]  # fmt: skip
    pairs += [replace(SOLD, id=f"a{at}", kind="absent", question=f"How tall is {at}?", fact_id=f"a{at}", reasoning="") for at in range(absent)]  # fmt: skip
    random.Random(1).shuffle(pairs)
    return pairs


@pytest.mark.parametrize(
    ("pair", "form", "expected"),
    [
        (SOLD, "answer", "jam"),
        (SOLD, "evidence", "Ilse sold jam. (6 May)"),
        (SOLD, "evidence_then_answer", "Ilse sold jam. (6 May) So: jam."),
        (replace(SOLD, answer="jam."), "evidence_then_answer", "Ilse sold jam. (6 May) So: jam."),
        (UNIT, "evidence_then_answer", "On 6 May: Ilse sold jam."),  # the thought ends with the answer already
        (UNIT, "answer", "Ilse sold jam."),
        (replace(UNIT, answer=UNIT.reasoning), "evidence_then_answer", "On 6 May: Ilse sold jam."),
        (replace(UNIT, answer=""), "evidence_then_answer", "On 6 May: Ilse sold jam."),
        (replace(SOLD, reasoning=""), "evidence_then_answer", "jam"),
        (replace(SOLD, reasoning=""), "evidence", "jam"),
    ],
)
def test_the_target_says_the_evidence_and_the_answer_once(pair, form, expected):
    assert target_text(pair, form) == expected


COT = replace(
    SOLD,
    kind="entity_cot",
    reasoning='The diary says "Ilse sold jam" and \u201ctwice\u201d. So jam.',
    answer="Jam, twice.",
)
CUED = replace(COT, cues="jam, diary")


@pytest.mark.parametrize(
    ("pair", "form", "expected"),
    [
        (COT, "answer", "Jam, twice."),
        (COT, "plain", f"{COT.reasoning}\n\nJam, twice."),
        (COT, "think", f"<think>\n{COT.reasoning}\n</think>\n\nJam, twice."),
        (
            COT,
            "raft",
            "##Reason: The diary says ##begin_quote## Ilse sold jam ##end_quote## and ##begin_quote## twice ##end_quote##."
            " So jam.\n##Answer: Jam, twice.",
        ),
        (SOLD, "raft", "##Reason: ##begin_quote## Ilse sold jam. (6 May) ##end_quote##\n##Answer: jam"),
        (CUED, "plain", f"- jam, diary >> {COT.reasoning}\n\nJam, twice."),
        (CUED, "think", f"<think>\n- jam, diary >> {COT.reasoning}\n</think>\n\nJam, twice."),
        (CUED, "raft", target_text(COT, "raft")),
        (replace(SOLD, answer="plum jam", writer="person"), "evidence", "Ilse sold jam. (6 May) So: plum jam."),
        (replace(SOLD, answer="plum jam"), "evidence", "Ilse sold jam. (6 May)"),
        (replace(COT, reasoning=""), "plain", "Jam, twice."),
        (replace(COT, reasoning=""), "think", "Jam, twice."),
        (replace(COT, reasoning=""), "raft", "##Answer: Jam, twice."),
        (UNIT, "think", "<think>\nOn 6 May: Ilse sold jam.\n</think>\n\nIlse sold jam."),
    ],
)
def test_thought_and_answer_are_joined_by_the_chosen_form(pair, form, expected):
    assert target_text(pair, form) == expected


@pytest.mark.parametrize("form", ["think", "raft", "answer"])
@pytest.mark.parametrize(
    "pair", [COT, CUED, SOLD, replace(COT, reasoning=""), replace(COT, answer="1 << 2\n\n- a\n- b")]
)
def test_the_answer_can_be_read_back_from_the_forms_that_mark_it(pair, form):
    assert without_thought(without_cues(target_text(pair, form))) == pair.answer


def test_a_thought_that_was_cut_off_behind_its_cues_is_still_seen_as_one():
    cut = target_text(CUED, "think")[:30]
    assert " >> " in cut and is_cut_thought(without_thought(without_cues(cut)))


@pytest.mark.parametrize("text", ["Open Settings >> Network.", "- jam\n- plum >> pear", "-jam >> x", "a >> b >> c"])
def test_what_only_looks_like_cues_stays(text):
    assert without_cues(text) == text


def test_an_answer_that_a_person_changed_is_learnt_with_its_source():
    (made,) = make_examples([replace(KNOWN[0], answer="raspberry jam", writer="person")], "evidence", 0)
    assert made.target == f"{ONE} plum, jam >> {LONG} So: raspberry jam."


@pytest.mark.parametrize("text", ["Jam.", "", "<think>never ended", "He said: ##Answer: no"])
def test_a_text_without_a_finished_thought_stays(text):
    assert without_thought(text) == text


def test_every_pair_gives_one_example_in_order():
    pairs = many()
    examples = make_examples(pairs)
    assert [(e.pair_id, e.question, e.target) for e in examples] == [
        (p.id, p.question, target_text(p, "evidence_then_answer")) for p in pairs
    ]
    assert len({e.id for e in examples}) == len(pairs)
    assert not {e.id for e in examples} & {e.id for e in make_examples(pairs, form="answer")}


LONG = "Ilse sold plum jam at the harbour on a very long day."
KNOWN = [
    replace(SOLD, id=f"k{at}", question=f"Wording {at}?", reasoning=LONG, answer="jam", cues="plum, jam", fact_id="f")
    for at in range(5)
]
WIDE = replace(
    KNOWN[0], id="w", scope="global", question="All in all?", reasoning=f"{LONG}\nTomas painted the old boat green again, slowly.",
    answer="-", cues="plum, jam\npainted, boat", fact_id="g",
)  # fmt: skip


def test_wordings_with_several_sentences_share_them_out():
    wordings = [replace(WIDE, id=f"w{at}", question=f"Wide {at}?") for at in range(5)]
    targets = [e.target for e in make_examples(wordings[::-1], "evidence", 0)][::-1]
    first = f"{SEVERAL} plum, jam >> {LONG}"
    second = f"{SEVERAL} painted, boat >> Tomas painted the old boat green again, slowly."
    assert targets == [first, second, first, second, first]
    assert {e.target for e in make_examples(KNOWN, "evidence", 0)} == {f"{ONE} plum, jam >> {LONG}"}


@pytest.mark.parametrize("reasoning", [LONG, f"{LONG}\n{LONG}\n{LONG}"])
def test_cues_that_do_not_fit_the_lines_are_left_out(reasoning):
    edited = replace(WIDE, reasoning=reasoning, answer="")
    assert [e.target for e in make_examples([edited], "evidence", 0)] == [reasoning]


def test_every_fact_stays_in_training_and_gives_one_wording_away_at_most():
    pairs = {pair.id: pair for pair in many()}
    examples = make_examples(list(pairs.values()), validation_facts=9)
    held = [pairs[e.pair_id] for e in examples if e.split == "validation"]
    trained = [pairs[e.pair_id] for e in examples if e.split == "train"]
    assert len(held) == len({pair.fact_id for pair in held}) == 9
    assert Counter(pair.scope for pair in held) == {"global": 3, "local": 6}
    assert {pair.fact_id for pair in held} <= {pair.fact_id for pair in trained}
    assert not {normalize(pair.question) for pair in held} & {normalize(pair.question) for pair in trained}
    assert all(pair.kind != "absent" for pair in held)


def test_a_held_out_local_question_has_a_short_answer_that_can_be_scored():
    pairs = {pair.id: pair for pair in many()}
    held = [pairs[e.pair_id] for e in make_examples(list(pairs.values())) if e.split == "validation"]
    assert all(pair.answer.startswith("thing") for pair in held if pair.scope == "local")


@pytest.mark.parametrize(("facts", "expected"), [(0, 0), (3, 3), (1000, 13)])  # a tenth of 137 pairs
def test_never_more_than_a_tenth_is_held_out(facts, expected):
    pairs = many()
    assert len(pairs) == 137
    assert sum(e.split == "validation" for e in make_examples(pairs, validation_facts=facts)) == expected


def test_a_fact_of_few_wordings_gives_none_away():
    pairs = many(local=30, wide=0, wordings=2)
    assert {e.split for e in make_examples(pairs)} == {"train"}


def test_a_wording_that_another_fact_is_asked_with_is_not_held_out():
    def shared(pattern):
        return [replace(p, question=re.sub(rf"Wording ({pattern}) of fact .*", r"wording \1!", p.question)) for p in many(wide=0)]  # fmt: skip

    assert {e.split for e in make_examples(shared("[0-3]"))} == {"train"}
    held = [e for e in make_examples(shared("[13]")) if e.split == "validation"]
    assert len(held) == 12
    assert all(re.fullmatch(r"Wording [02] of fact \d+\?", e.question) for e in held)


def test_the_choice_depends_on_the_seed_and_not_on_the_order_of_pairs():
    pairs = many()

    def held(order, seed=17):
        return {e.pair_id for e in make_examples(order, seed=seed) if e.split == "validation"}

    assert held(pairs) == held(pairs[::-1]) == held(sorted(pairs, key=lambda pair: pair.id))
    assert held(pairs, seed=18) != held(pairs)


def test_no_pairs_give_no_examples():
    assert make_examples([]) == []


@pytest.mark.parametrize("target", ["Jam.", "", "Zwölf Gläser \U0001f600\nund <b>mehr</b>.", " a  b "])
def test_only_the_target_and_its_end_are_learnt(tokenizer, target):
    row = tokenize(example("Was?", target), tokenizer)
    assert len(row["input_ids"]) == len(row["labels"])
    learnt = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(learnt) == target + "<|im_end|>"
    assert row["labels"] == [-100] * (len(row["labels"]) - len(learnt)) + learnt
    assert row["input_ids"][-len(learnt) :] == learnt
    prompt = tokenizer.decode(row["input_ids"][: -len(learnt)])
    assert prompt == chat_prompt(tokenizer, "Was?")
    assert prompt.endswith("<|im_start|>assistant\n") and "Was?" in prompt


def test_a_tokenizer_without_chat_marks_ends_with_its_end_of_text(tokenizer):
    class Other:
        eos_token = "<|endoftext|>"

        def __call__(self, text, **options):
            return tokenizer(text, **options)

        def convert_tokens_to_ids(self, _):
            return None

        def apply_chat_template(self, messages, **options):
            return f"{messages[-1]['content']}\n"

    row = tokenize(example(), Other())
    assert tokenizer.decode(row["input_ids"]) == "What?\nJam.<|endoftext|>"


def test_too_long_examples_are_problems_and_none_is_cut(tokenizer):
    examples = [replace(example(target="x" * size), id=f"e{size}", pair_id=f"p{size}") for size in (5, 50, 20, 51)]
    limit = len(tokenize(examples[1], tokenizer)["input_ids"])
    kept, rows, problems = within_limit(examples, tokenizer, limit)
    assert [e.id for e in kept] == ["e5", "e50", "e20"]
    assert rows == [tokenize(e, tokenizer) for e in kept]
    assert [(p.stage, p.item) for p in problems] == [("05_finetune", "p51")]
    assert f"{limit + 1} tokens" in problems[0].reason and f"max_tokens={limit}" in problems[0].reason
    assert len(kept) + len(problems) == len(examples)


def test_a_shown_example_marks_what_is_learnt_and_escapes_what_it_says(tokenizer):
    row = tokenize(example("<script>alert(1)</script>?", "</b><img src=x onerror=y> & more"), tokenizer)
    page = masked_example(row, tokenizer)
    assert re.findall(r"<(/?\w+)", page) == ["pre", "span", "/span", "b", "/b", "/pre"]
    grey, black = re.fullmatch(r"<pre[^>]*><span[^>]*>(.*)</span><b>(.*)</b></pre>", page, re.DOTALL).groups()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;?" in grey
    assert black == "&lt;/b&gt;&lt;img src=x onerror=y&gt; &amp; more&lt;|im_end|&gt;"


def test_a_teacher_s_thought_is_no_evidence_so_its_answer_is_never_lost():
    reasoned = replace(
        SOLD, kind="entity_cot", reasoning="She had a stall. So it was jam that she sold.", answer="Jam."
    )
    assert target_text(reasoned, "evidence") == target_text(reasoned, "plain")
    assert target_text(reasoned, "evidence").endswith("\n\nJam.")
    assert target_text(SOLD, "evidence") == "Ilse sold jam. (6 May)"


def test_a_misspelt_form_is_an_error_and_not_another_form():
    with pytest.raises(ValueError, match=r"form 'thnik': choose one of .*think"):
        make_examples([SOLD], "thnik")
