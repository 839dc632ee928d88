import random
from itertools import pairwise

import pytest

from ragtune_lib.text import (
    contains,
    content_words,
    date_of,
    names,
    normalize,
    numbers,
    sentence_spans,
    sentences,
    spoken_date,
    words,
)

LONG = (
    "# 4 January 2025: A title\n\nDr. Weiss met Mrs. Hall at 9 a.m. on Mill St. in town. They spoke of\nsmall things.\n"
    "## Second\nDirectly below it.  \U0001f600 Größe zählt.\u2028She stayed.\r\n\r\n   Indented, with a tab\tinside.\n- two"
    " ropes\n- a lantern\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The boat sank. It was late.", ["The boat sank.", "It was late."]),
        ("The boat sank near\nthe old pier. It\nwas late.", ["The boat sank near the old pier.", "It was late."]),
        ("One half\n\nother half", ["One half", "other half"]),
        ("One half\n \t\nother half", ["One half", "other half"]),
        ("We saw\n#1 of ten. End.", ["We saw #1 of ten.", "End."]),
        ("First.\r\n\r\nSecond\r\nwraps.", ["First.", "Second wraps."]),
        (
            "Dr. Weiss met Mrs. Hall at 9 a.m. in town. They spoke.",
            ["Dr. Weiss met Mrs. Hall at 9 a.m. in town.", "They spoke."],
        ),
        ("J. R. R. Tolkien paid 3.5 euros. He left.", ["J. R. R. Tolkien paid 3.5 euros.", "He left."]),
        ("Mr.\nHall came.", ["Mr. Hall came."]),
        ("He left.\u2028She stayed.", ["He left.", "She stayed."]),
        ("- two ropes\n- a lantern", ["- two ropes", "- a lantern"]),
        ("日本語の文です。次の文です。", ["日本語の文です。", "次の文です。"]),
        ("", []),
        (" \n\t\n", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A title\nText at once. More.", ["Text at once.", "More."]),
        ("Text before\n## A title\nText after.", ["Text before", "Text after."]),
        ("# A title. With two sentences.", []),
        ("#\nText.", ["Text."]),
        ("###### Deep\n\nText.", ["Text."]),
        ("Windows.\r\n# A title\r\nText.", ["Windows.", "Text."]),
    ],
)
def test_headings_are_not_sentences(text, expected):
    assert sentences(text) == expected


def test_a_number_sign_alone_makes_no_heading_and_no_text_is_lost():
    assert sentences("#1 is the roof.\n#garden day. We dug.\n####### seven") == [
        "#1 is the roof.",
        "#garden day.",
        "We dug.",
        "####### seven",
    ]


def test_spans_are_in_order_do_not_overlap_and_hold_all_words_but_those_of_headings():
    spans = sentence_spans(LONG)
    assert all(a < b <= c < d for (a, b), (c, d) in pairwise(spans))
    assert all(LONG[a:b] == LONG[a:b].strip() != "" for a, b in spans)
    found = " ".join(LONG[a:b] for a, b in spans).split()
    body = "\n".join(line for line in LONG.split("\n") if not line.startswith("#"))
    assert found == body.split()


def test_no_text_makes_the_splitter_lose_a_word():
    chooser = random.Random(5)
    pieces = [*"aB.!?,\n\r \t#-'\"\u2028\u00e9\U0001f600", "Dr. ", "\n\n", "e.g. ", "1. ", "...", "\u3002"]
    for _ in range(300):
        text = "".join(chooser.choices(pieces, k=40))
        kept = "".join(text[a:b] for a, b in sentence_spans(text))
        headed = "".join(
            line for line in text.split("\n") if not (line.startswith("#") and line.lstrip("#")[:1] in ("", " ", "\t"))
        )
        assert "".join(kept.split()) == "".join(headed.split()), repr(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ilse\u2019s plum-jam, 14 pounds!", "ilses plum jam 14 pounds"),
        ("1,200 euros", "1200 euros"),
        ("3, 4 and 5", "3 4 and 5"),
        ("snake_case", "snake case"),
        ("\ufb01ne \uff12", "fine 2"),  # a ligature, a full-width digit
        ("ÄRGER in Tromsø", "ärger in tromsø"),
        ("--- !", ""),
    ],
)
def test_normalizing_keeps_comparable_words(text, expected):
    assert normalize(text) == expected
    assert normalize(normalize(text)) == expected


def test_a_phrase_is_found_as_whole_words_only():
    text = normalize("Ilse's plum jam cost 1,200 euros.")
    assert all(contains(text, phrase) for phrase in ("plum-jam", "ILSE'S", "1200", "1,200 euros", "euros."))
    assert not any(contains(text, phrase) for phrase in ("plum ja", "lum", "120", "200", "jam plum", "", "..."))


def test_content_words_carry_meaning():
    assert content_words("We have NOT seen the harbour-master's 14 boats, a b!") == {
        "seen",
        "harbour",
        "masters",
        "14",
        "boats",
    }
    assert words("Don't STOP, o\u2019clock") == ["don't", "stop", "o\u2019clock"]


def test_numbers_are_those_written_with_digits():
    assert numbers("1,200 euros at 9:30 on 3.5.2024, then 7. Twice, 12x and 1,000,000") == {
        "1200",
        "9:30",
        "3.5.2024",
        "7",
        "12",
        "1000000",
    }
    assert numbers("twelve") == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The boat sank. Then Ilse Brandt met Tomas in April.", {"Ilse Brandt", "Tomas", "April"}),
        ("We saw Ilse's brother Tomas.", {"Ilse", "Tomas"}),
        ("We saw Ilse Brandt\u2019s Tomas.", {"Ilse Brandt", "Tomas"}),
        ("We met Noor, Benno and Lea.", {"Noor", "Benno", "Lea"}),
        ("Tomas went. Ilse came.", set()),  # they merely start a sentence
        ("He said I must. But We went.", set()),
        ("Ilse.", {"Ilse"}),  # a sentence of one word says nothing else
    ],
)
def test_names_are_capitalised_runs_inside_a_sentence(text, expected):
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("notes/2025-03-09.md", "2025-03-09"),
        ("2025-03-09-2 and 2026-01-01", "2025-03-09"),
        ("9 March 2025: rain", "2025-03-09"),
        ("2025-02-29, no: 2025-03-01", "2025-03-01"),  # there is no 29 February 2025
        ("31 April 2025 or 9 March 2025", "2025-03-09"),
        ("29 February 2024", "2024-02-29"),
        ("9 March 2025, file 2024-01-02", "2024-01-02"),  # ISO first
        ("12025-03-09", ""),
        ("2025-03-091", ""),
        ("0000-01-01", ""),
        ("9 Marchy 2025", ""),
        ("", ""),
    ],
)
def test_the_first_real_date_is_found(text, expected):
    assert date_of(text) == expected


@pytest.mark.parametrize("iso", ["2025-03-09", "2024-02-29", "1999-12-31", "2025-10-01"])
def test_a_date_spoken_is_the_same_date_read_back(iso):
    assert date_of(spoken_date(iso)) == iso


def test_a_date_is_spoken_without_a_leading_zero_and_none_stays_none():
    assert spoken_date("2025-03-09") == "9 March 2025"
    assert spoken_date("") == ""
