import re

import numpy as np
import pytest

from ragtune_lib.checks import check_pairs, ngrams
from ragtune_lib.records import Chunk, QAPair, Question
from ragtune_lib.text import normalize

JANUARY = Chunk(
    "c1",
    "d1",
    0,
    99,
    "# 6 January 2025: Jam\n\nIlse Brandt sold 14 jars of plum\njam. She kept Anna's jar back.\n\n"
    '"No sugar," Tomas said, "is no jam."',
    "2025-01-06",
)
MARCH = Chunk("c2", "d2", 0, 99, "The boat sank at 9:30 near the old pier\n- two ropes\n- a lantern", "2025-03-09")
CHUNKS = [JANUARY, MARCH]
RECALLED = (
    "On 6 January 2025: Ilse Brandt sold 14 jars of plum jam. On 9 March 2025: The boat sank at 9:30 near the old pier"
)


def pair(id="p1", question="What was sold that winter?", reasoning="", answer="Plum jam.", **other):
    fields = {"scope": "local", "kind": "entity", "evidence_ids": ("c1", "c2"), "writer": "template", "fact_id": "f1"}
    return QAPair(id=id, question=question, reasoning=reasoning, answer=answer, **{**fields, **other})


def embed(texts):
    """A bag of words as a vector: texts without a common word are at right angles, equal bags coincide."""
    rows = np.zeros((len(texts), 1 << 12), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in normalize(text).split():
            row[sum(ord(sign) * 31**place for place, sign in enumerate(word)) % len(row)] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)


def found(*pairs, questions=(), **options):
    return check_pairs(pairs, CHUNKS, questions, embed, **options)


def checks(*pairs, **options):
    return {(flag.pair_id, flag.check, flag.blocks) for flag in found(*pairs, **options)}


def held(question, id="h1"):
    return Question(id, "local", question, "", (("x",),), ())


def test_faithful_reasoning_passes_every_check():
    assert found(pair(reasoning=RECALLED, answer="Ilse Brandt sold 14 jars on 6 January 2025.")) == []


@pytest.mark.parametrize(
    "reasoning",
    [
        "On 6 January 2025: Ilse Brandt sold 14 jars of plum jam. She kept Anna's jar back.",
        "In January: She kept Anna's jar back.",
        "In January 2025: She kept Anna's jar back.",
        "2025-01-06: She kept Anna's jar back.",
        "On 6 January 2025: She kept Anna's jar back. Ilse Brandt sold 14 jars of plum jam.",
        "On 6 January 2025: \u201cShe kept Anna's jar back.\u201d",
        'On 6 January 2025: "No sugar," Tomas said, "is no jam."',
        "On 9 March 2025: - two ropes On 6 January 2025: She kept Anna's jar back.",
        "",
    ],
)
def test_forms_of_recall_that_quote_the_source_pass(reasoning):
    assert found(pair(reasoning=reasoning)) == []


@pytest.mark.parametrize(
    "reasoning",
    [
        "On 6 January 2025: Ilse Brandt sold 14 jars of cherry jam.",
        "On 6 January 2025: Ilse Brandt sold 14 jars of plum jam. She was glad of it.",
        "On 6 January 2025: he kept Anna's jar back.",
        "She kept Anna's jar back, I think.",
        "On 6 January 2025: \u201cShe kept the jar back.\u201d",
    ],
)
def test_one_changed_or_added_word_in_the_reasoning_blocks(reasoning):
    assert ("p1", "quote", True) in checks(pair(reasoning=reasoning))


def test_a_quotation_in_the_answer_must_be_in_the_source():
    assert found(pair(answer='He said "is no jam".')) == []
    assert checks(pair(answer='He said "is much jam".')) == {("p1", "quote", True)}


def test_evidence_of_another_document_does_not_support_a_quote():
    assert ("p1", "quote", True) in checks(pair(reasoning=RECALLED, evidence_ids=("c1",)))


def test_a_pair_without_evidence_is_blocked_unless_it_abstains():
    assert checks(pair(evidence_ids=())) == {("p1", "quote", True)}
    assert checks(pair(evidence_ids=("gone",))) == {("p1", "quote", True)}
    assert found(pair(answer="The journal does not say who Peter is.", kind="absent", evidence_ids=())) == []


@pytest.mark.parametrize(
    ("answer", "blocked"),
    [
        ("14 jars", False),
        ("15 jars", True),
        ("at 9:30", False),
        ("on the 9th of the 3rd month of 2025, 03", False),
        ("in 2024", True),
    ],
)
def test_a_number_must_be_in_the_evidence_or_its_dates(answer, blocked):
    assert checks(pair(answer=answer)) == ({("p1", "number", True)} if blocked else set())


@pytest.mark.parametrize(
    ("answer", "blocked"),
    [
        ("It was Ilse Brandt.", False),
        ("It was Anna.", False),
        ("It was in March.", False),
        ("It was in April.", True),
        ("It was Ilse Tomas.", True),
        ("It was Peter.", True),
        ("It was Greta.", False),
    ],
)
def test_a_name_must_be_in_the_evidence_its_dates_or_the_question(answer, blocked):
    asked = pair(question="What did Greta's sister sell?", answer=answer)
    assert checks(asked) == ({("p1", "name", True)} if blocked else set())


def test_questions_of_two_or_of_41_words_and_empty_answers_block():
    assert checks(pair(question="Sold what?")) == {("p1", "length", True)}
    assert found(pair(question="What was sold?")) == []
    assert found(pair(question="word " * 40)) == []
    assert checks(pair(question="word " * 41)) == {("p1", "length", True)}
    assert checks(pair(answer=" ")) == {("p1", "length", True)}


def test_an_answer_that_repeats_the_question_is_flagged_and_stays():
    assert checks(pair(question="Was the plum jam sold?", answer="The plum jam.")) == {("p1", "echo", False)}


def test_the_same_question_about_the_same_fact_is_used_once():
    first, second = pair("p1"), pair("p2", question="what was sold, that winter")
    assert checks(first, second) == {("p2", "duplicate", True)}
    assert checks(second, first) == {("p1", "duplicate", True)}


def test_an_equal_pair_is_a_duplicate_whatever_its_fact():
    assert checks(pair("p1"), pair("p2", fact_id="f2")) == {("p2", "duplicate", True)}


def test_near_duplicates_are_found_within_a_fact_only():
    turned = "That winter, what was sold?"  # the same words in another order
    assert checks(pair("p1"), pair("p2", question=turned)) == {("p2", "duplicate", True)}
    assert checks(pair("p1"), pair("p2", question=turned, fact_id="f2", answer="Jam.")) == set()
    close = "What was sold that autumn?"  # four of five words: cosine 0.8
    assert checks(pair("p1"), pair("p2", question=close)) == set()
    assert checks(pair("p1"), pair("p2", question=close), duplicate_similarity=0.79) == {("p2", "duplicate", True)}


def test_a_faulty_pair_does_not_drive_out_its_sound_twin():
    assert checks(pair("p1", answer="99 jars"), pair("p2")) == {("p1", "number", True)}


def test_of_a_local_conflict_the_first_stays_and_both_are_flagged():
    other = pair("p2", fact_id="f2", answer="A lantern.")
    assert checks(pair("p1"), other) == {("p1", "conflict", False), ("p2", "conflict", True)}


def test_a_global_question_may_have_two_answers_but_not_one_twice():
    given = [
        pair(f"p{n}", fact_id=f"f{n}", answer=a, scope="global") for n, a in enumerate(["Jam.", "Ropes.", "Ropes."])
    ]
    assert checks(*given) == {("p0", "conflict", False), ("p1", "conflict", False), ("p2", "duplicate", True)}


HELD = held("Which fruit did Ilse Brandt put into the jam last winter?", "secret-7")


@pytest.mark.parametrize(
    ("question", "way"),
    [
        ("which fruit did ilse brandt put into the jam last winter", "exact"),
        ("Tell me: which fruit did Ilse Brandt put into the jam that autumn?", "n-gram: 75%"),
        ("Last winter the jam into which Ilse Brandt did put fruit?", "embedding: cosine 1.00"),
    ],
)
def test_a_leak_is_found_and_told_without_the_held_out_wording(question, way):
    (flag,) = found(pair(question=question), questions=[held("Who sank the boat?"), HELD])
    assert (flag.check, flag.blocks) == ("leak", True)
    assert flag.detail.startswith(way)
    assert "secret-7" in flag.detail
    assert not re.search("fruit|ilse|winter", flag.detail.lower())


def test_a_question_below_both_thresholds_is_no_leak():
    asked = pair(question="Tell me: which fruit did Ilse Brandt put into the jam that autumn?")
    assert checks(asked, questions=[HELD], leak_ngram=0.76) == set()
    assert checks(asked, questions=[HELD], leak_ngram=0.75) == {("p1", "leak", True)}
    assert checks(asked, questions=[HELD], leak_ngram=0.76, leak_similarity=0.6) == {("p1", "leak", True)}


def test_short_held_out_questions_leak_as_a_whole_only():
    assert ngrams("Who is Ilse?") == set()
    assert checks(pair(question="Who is Ilse?"), questions=[held("Who is Ilse?")]) == {("p1", "leak", True)}
    assert checks(pair(question="Who is Ilse on most days of winter?"), questions=[held("Who is Ilse?")]) == set()


def test_leaks_are_found_in_every_block_of_a_large_set():
    pairs = [
        pair(f"p{n}", question=f"What about number{n} of them?", fact_id=f"f{n}", answer="Jam.") for n in range(60)
    ]
    pairs[41] = pair("p41", question="Last winter the jam into which Ilse Brandt did put fruit?")
    import ragtune_lib.checks as module

    size, module.BLOCK = module.BLOCK, 16
    try:
        assert checks(*pairs, questions=[held("Quite unlike"), HELD]) == {("p41", "leak", True)}
    finally:
        module.BLOCK = size


def test_flags_come_in_the_order_of_the_pairs():
    flags = found(pair("z", answer="15 jars by Peter."), pair("a", question="Sold what?", answer="Peter"))
    assert [(flag.pair_id, flag.check) for flag in flags] == [
        ("z", "number"),
        ("z", "name"),
        ("a", "name"),
        ("a", "length"),
    ]


def test_no_pairs_or_a_repeated_pair_need_no_special_case():
    assert found(questions=[HELD]) == []
    assert found(pair(), pair()) == []


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        ("The winter was about jam, of which much was sold.", set()),
        ('It says "She kept Anna\'s jar back", so one was left.', set()),
        ('It says "She gave Anna\'s jar away", so none was left.', {"quote"}),
        ("She sold 15 jars.", {"number"}),
        ("Jam was sold by Ottilie.", {"name"}),
    ],
)
def test_a_thought_in_own_words_is_checked_by_its_quotations_numbers_and_names(reasoning, expected):
    assert {flag.check for flag in found(pair(kind="entity_cot", reasoning=reasoning))} == expected
    recalled = {flag.check for flag in found(pair(kind="entity", reasoning=reasoning))}
    assert "quote" in recalled  # a kind that recalls has to be verbatim


def test_the_numbering_of_a_list_is_no_claim():
    listed = "It was much:\n1. Jam was sold.\n2) Ropes lay near the pier.\n\n3. Sugar was left out."
    assert found(pair(kind="entity_cot", answer=listed)) == []
    assert ("p1", "number", True) in checks(pair(kind="entity_cot", answer=f"{listed} It took 52 days."))
