import random

import pytest
from tiny import embed

from ragtune_lib.checks import check_pairs
from ragtune_lib.records import QAPair, Question
from ragtune_lib.teacher.wordings import Wordings

KNOWN = ["What did Ilse sell at the harbour in winter?", "Who painted the boat?"]


def fresh(*texts, known=KNOWN, **options):
    return Wordings(known, embed, **options).fresh(texts)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("who painted the BOAT", "the same words"),
        ("Tell me: what did Ilse sell at the harbour in summer or spring?", "4-grams"),
        ("What did Ilse sell at the", "4-grams"),  # the shorter of both counts
        ("The boat painted who?", "cosine 1.00"),
        ("Which colour has the sign?", ""),
        ("Who?", ""),
        ("", ""),
    ],
)
def test_a_question_is_known_by_its_words_its_4_grams_or_its_meaning(text, reason):
    (found,) = fresh(text)
    assert found.endswith(reason) and bool(found) == bool(reason)


def test_a_new_question_is_known_to_those_after_it_but_not_to_the_next_batch():
    wordings = Wordings(KNOWN, embed)
    text = "Which gull stole the sign?"
    assert [bool(reason) for reason in wordings.fresh([text, "Other words here.", text.upper()])] == [
        False,
        False,
        True,
    ]
    assert wordings.fresh([text]) == [""]
    assert wordings.fresh([text, "The sign stole which gull?"]) == ["", "cosine 1.00"]


def test_a_rejected_question_rejects_no_other():
    chain = ["a b c d e f g h", "e f g h a b c d i j", "i j a1 b1 c1"]
    assert fresh(chain[0], chain[2], known=[chain[1]], similarity=0.3) != ["", ""]
    assert fresh(chain[1], chain[2], known=[chain[0]], similarity=0.3)[1] == ""


def test_the_limits_are_parameters():
    text = "Tell me: what did Ilse sell at the harbour in summer or spring?"
    assert fresh(text, ngram=0.9, similarity=0.99) == [""]
    assert fresh("The boat painted who?", similarity=1.1) == [""]


def test_no_known_questions_and_no_texts():
    assert fresh(known=[]) == [] == fresh()
    assert fresh("One two three?", "one two three", known=[]) == ["", "the same words"]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_fresh_leaks_into_no_training_pair(seed):
    chooser = random.Random(seed)

    def text():
        return " ".join(chooser.choices(["ilse", "tomas", "boat", "jam", "harbour", "pier", "sold", "lost"], k=chooser.randrange(3, 9))) + "?"  # fmt: skip

    known, texts = [text() for _ in range(20)], [text() for _ in range(20)]
    kept = [one for one, reason in zip(texts, fresh(*texts, known=known), strict=True) if not reason]
    pairs = [QAPair(f"p{at}", "local", "entity", one, "", "A", ("c",), "t", f"f{at}") for at, one in enumerate(known)]
    held = [Question(f"h{at}", "local", one, "", (("x",),), ()) for at, one in enumerate(kept)]
    assert not [flag for flag in check_pairs(pairs, [], held, embed) if flag.check == "leak"]
    assert len(kept) > 1
