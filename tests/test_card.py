import re
from html.parser import HTMLParser

import pytest

from ragtune_lib.curation.card import STYLE, difference, evidence, pair_card, wording
from ragtune_lib.curation.marks import Sources, doubtful, pieces, supporting, word_diff
from ragtune_lib.curation.neighbourhood import NODES, Neighbourhoods
from ragtune_lib.records import Chunk, Entity, Flag, QAPair, Relationship

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'</blockquote>\x00\u202e"
TEXT = "Ilse sold nine jars of plum jam on the quay. Marit paid 12 pounds for the boat."
CHUNK = Chunk("c1", "d1", 0, len(TEXT), TEXT, "2025-01-06")
SOURCES = Sources([CHUNK])


def pair(
    question="What did Ilse sell?", reasoning="", answer="Plum jam.", evidence_ids=("c1",), kind="written", id="p"
):
    return QAPair(id, "local", kind, question, reasoning, answer, evidence_ids, "template", "f1")


def found(text, spans, kind):
    return [text[start:end] for start, end, name in spans if name == kind]


class Shape(HTMLParser):
    """Tags and attributes as a browser reads them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):  # noqa: D102
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_a_sentence_that_the_source_does_not_back_is_marked_and_one_that_it_backs_is_not():
    text = "Ilse sold nine jars of plum jam. Tomas burned the chapel down."
    assert found(text, doubtful(text, pair(answer=text), SOURCES), "unbacked") == ["Tomas burned the chapel down."]


def test_numbers_and_names_that_are_not_in_the_source_are_marked_where_they_stand():
    text = "Marit and Old Tomas paid 12 pounds and 1,400 more."
    assert found(text, doubtful(text, pair(answer=text), SOURCES), "unknown") == ["1,400", "Old Tomas"]


def test_the_ordinals_of_a_list_are_not_numbers_that_anybody_claims():
    text = "7. Marit paid 12 pounds for the boat.\n8. Ilse sold nine jars of plum jam."
    assert doubtful(text, pair(answer=text), SOURCES) == []


def test_a_name_that_the_question_has_is_not_marked():
    asked = pair(question="Did Tomas see Ilse?", answer="Ilse sold Tomas jam.")
    assert found(asked.answer, doubtful(asked.answer, asked, SOURCES), "unknown") == []


def test_a_pair_that_abstains_without_evidence_has_no_marks():
    absent = pair(answer="The journal says nothing of 99 boats.", evidence_ids=(), kind="absent")
    assert doubtful(absent.answer, absent, SOURCES) == []


def test_the_source_shows_what_is_recalled_said_and_asked():
    told = pair(reasoning="Ilse sold nine jars of plum jam on the quay.")
    spans = supporting(TEXT, told, SOURCES)
    assert found(TEXT, spans, "recalled") == ["Ilse sold nine jars of plum jam on the quay."]
    assert found(TEXT, spans, "said") == ["plum", "jam"]
    assert found(TEXT, spans, "asked") == ["Ilse"]


def test_an_answer_that_is_a_whole_sentence_marks_the_sentence_and_not_each_word():
    spans = supporting(TEXT, pair(answer="Ilse sold nine jars of plum jam on the quay."), SOURCES)
    assert found(TEXT, spans, "said") == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("a b", ""),
        ("", "a b"),
        ("one two  three", "one  2 three"),
        (TEXT, TEXT[::-1]),
        ("x " * 900, "y " * 900),
    ],
)
def test_a_word_diff_holds_both_wordings_to_the_letter(before, after):
    steps = word_diff(before, after)
    assert "".join(text for kind, text in steps if kind != "inserted") == before
    assert "".join(text for kind, text in steps if kind != "deleted") == after


def test_a_changed_word_is_told_apart_by_more_than_its_colour():
    assert difference("<b> jam", "<b> jelly") == "&lt;b&gt; <del>jam</del><ins>jelly</ins>"
    assert re.search(r"\bins\{[^}]*underline", STYLE)
    assert re.search(r"\bdel\{[^}]*line-through", STYLE)


def test_pieces_join_to_the_text_whatever_overlaps():
    spans = [(0, 5, "unbacked"), (3, 9, "unknown"), (3, 4, "unknown"), (9, 9, "said")]
    cut = pieces("abcdefghijk", spans)
    assert "".join(text for text, _ in cut) == "abcdefghijk"
    assert dict(cut)["efghi"[1:]] == ("unknown",)


def test_hostile_text_stays_text_in_every_part_of_the_card():
    hostile = pair(HOSTILE, HOSTILE, HOSTILE + "1", id=HOSTILE, kind=HOSTILE)
    entities = [Entity(f"e{n}", f"{HOSTILE} {n}", "", HOSTILE, (), ("c9",)) for n in range(3)]
    links = [Relationship("r", "e0", "e1", 1.0, HOSTILE, (), ()), Relationship("s", "e0", "e2", 1.0, HOSTILE, (), ())]
    told = QAPair("q", "local", "written", f"{HOSTILE} 0", HOSTILE, "x", ("c9", HOSTILE), HOSTILE, "f", cues=HOSTILE)
    sources = Sources([Chunk("c9", "d", 0, 9, HOSTILE, "")])
    for one in (hostile, told):
        flags = [Flag(one.id, HOSTILE, HOSTILE, True)]
        shape = Shape(pair_card(one, sources, flags, pair(), {HOSTILE: 0.5}, Neighbourhoods(entities, links)))
        assert not shape.tags & {"script", "img", "iframe", "a"}
        assert not {name for name in shape.attributes if name.startswith("on")} | shape.attributes & {"href", "src"}
    assert "svg" in Shape(evidence(told, sources, Neighbourhoods(entities, links))).tags


def test_an_edit_shows_the_difference_to_the_original():
    card = wording(pair(answer="Pear jam."), SOURCES, original=pair())
    assert "<del>Plum</del><ins>Pear</ins> jam." in card
    assert "<ins>" not in wording(pair(), SOURCES, original=pair())


def test_a_reasoning_that_is_the_answer_is_shown_once():
    card = wording(pair(reasoning="Plum jam.", answer="Plum jam."), SOURCES)
    assert card.count("Plum jam.") == 1
    assert wording(pair(reasoning="Plum jam!"), SOURCES).count("Plum jam") == 2


def test_flags_of_other_pairs_are_not_shown_and_missing_chunks_are_named():
    flags = [Flag("p", "echo", "mine", False), Flag("q", "echo", "theirs", True)]
    card = pair_card(pair(evidence_ids=("c1", "gone")), SOURCES, flags)
    assert "echo: mine" in card
    assert "theirs" not in card
    assert "chunk gone is missing" in card


def graph(count):
    entities = [Entity(f"e{n}", f"name {n}", "", "", (), ("c1",)) for n in range(count)]
    links = [Relationship(f"r{n}", "e0", f"e{n}", float(n), "", (), ()) for n in range(1, count)]
    return entities, links


def test_the_neighbourhood_shows_the_heaviest_links_of_the_named_entity_and_is_always_the_same():
    around = Neighbourhoods(*graph(40))
    asked = pair(question="What is name 0 about?")
    assert around.centre(asked).id == "e0"
    assert [entity.id for entity in around.around(around.centre(asked))] == [
        f"e{n}" for n in range(39, 39 - NODES + 1, -1)
    ]
    entities, links = graph(40)
    assert around.drawing(asked) == Neighbourhoods(entities[::-1], links[::-1]).drawing(asked)
    assert around.drawing(asked).count("<circle") == NODES


@pytest.mark.parametrize("count", [0, 1, 2])
def test_small_neighbourhoods_are_drawn_or_left_out(count):
    drawing = Neighbourhoods(*graph(count)).drawing(pair(question="What is name 0 about?"))
    assert drawing.count("<circle") == count


def test_self_relations_and_links_to_nowhere_draw_nothing():
    entities, _ = graph(1)
    links = [Relationship("r", "e0", "e0", 1.0, "", (), ()), Relationship("s", "e0", "gone", 1.0, "", (), ())]
    assert "<line" not in Neighbourhoods(entities, links).drawing(pair(question="What is name 0 about?"))


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def full(colour):
    return colour if len(colour) == 7 else "#" + "".join(letter * 2 for letter in colour[1:])


def test_every_text_colour_of_the_card_reads_on_every_ground():
    for text in ("#1c1e21", "#56606b"):
        for ground in set(re.findall(r"background:(#[0-9a-f]{3,6})", STYLE)):
            dark, light = sorted((luminance(text), luminance(full(ground))))
            if text == "#1c1e21" or ground == "#fff":
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)
