import re

from ragtune_lib.graph.cards import community_card, entity_card, marked, relations_card
from ragtune_lib.graph.coverage import Coverage, facts_recalled, read_coverage, read_facts_recalled
from ragtune_lib.records import (
    Answer,
    Chunk,
    Community,
    Document,
    Entity,
    QAPair,
    Question,
    Relationship,
    Sentence,
)
from ragtune_lib.store import write_records

HOSTILE = "<script>hit()</script><img src=x onerror=hit()>"
TEXT = "The pears\n were ripe. Ilse\tBrandt sold jam, and ilse brandts do not count. ILSE BRANDT left."
CHUNKS = {"c": Chunk("c", "d", 0, len(TEXT), TEXT, "2025-03-09")}
DOCUMENTS = {"d": Document("d", "one.md", f"Day {HOSTILE}", TEXT, "2025-03-09")}
ILSE = Entity("i", "Ilse Brandt", "person", "", (Sentence("The pears were ripe.", "c", ""),), ("c", "gone"))


def pair(one, question, answer="yes", chunks=("c",)):
    return QAPair(one, "local", "entity", question, "", answer, tuple(chunks), "template", one)


def test_mentions_are_marked_as_whole_words_in_any_case_and_evidence_is_shaded():
    shown = marked(TEXT, ["Ilse Brandt"], ["The pears were ripe."])
    assert re.findall(r"<mark>([^<]*)</mark>", shown) == ["Ilse\tBrandt", "ILSE BRANDT"]
    assert '<span class="told">The pears\n were ripe.</span>' in shown
    assert re.sub(r"</?(?:mark|span)[^>]*>", "", shown) == TEXT


def test_a_long_chunk_is_shown_from_shortly_before_the_first_mention():
    shown = marked("word " * 1000 + "Ilse Brandt." + " word" * 1000, ["Ilse Brandt"])
    assert "<mark>Ilse Brandt</mark>" in shown and shown.startswith("… ") and shown.endswith(" …")
    assert len(shown) < 2000


def test_names_of_signs_or_nothing_mark_nothing_and_do_no_harm():
    for name in ("", "  ", ".*", "(", "\\"):
        assert "<mark>" not in marked(TEXT, [name])
    assert marked(HOSTILE, ["script"]).count("<mark>script</mark>") == 2
    assert "<script" not in marked(HOSTILE, ["script"])


def test_an_entity_shows_sources_communities_and_what_became_of_its_pairs():
    pairs = [pair("p", "What did Ilse Brandt sell?"), pair("q", "Who left?", "Ilse Brandt"), pair("r", "Who else?")]
    coverage = Coverage(pairs, {"p"}, {"p": "keep", "q": "drop"})
    card = entity_card(
        ILSE, 7, {"Ilse Brandt"}, CHUNKS, DOCUMENTS, [Community("k", 0, "", ("i",), "Jam", "", ())], coverage
    )
    for text in ("person", "7 relationships", "level 0: Jam", "9 March 2025", "chunk gone is missing"):
        assert text in card
    assert "Pairs made from it: 2, of which 1 are trained on" in card
    assert '<span class="tag">keep</span>' in card and '<span class="tag">drop</span>' in card
    assert "Who else?" not in card


def test_pairs_count_for_an_entity_that_they_name_and_whose_chunk_they_rest_on():
    other = Entity("o", "Ilse", "person", "", (), ("elsewhere",))
    nameless = Entity("s", "!!", "", "", (), ("c",))
    pairs = [pair("p", "Did Ilse Brandt go?", chunks=("c", "c")), pair("q", "Ilse Brandt?", chunks=("elsewhere",))]
    coverage = Coverage(pairs, {"p"})
    assert coverage.counts([ILSE, other, nameless]) == {
        "pairs made": {"i": 1, "o": 1, "s": 0},
        "pairs kept": {"i": 1, "o": 0, "s": 0},
    }


def test_recalled_facts_count_for_the_entities_of_their_question():
    facts = (("jam",), ("pears",))
    questions = [
        Question("1", "local", "What did Ilse Brandt sell?", "Jam and pears.", facts, ()),
        Question("2", "local", "Who sold?", "Ilse Brandt did.", (("Ilse",),), ()),
        Question("3", "unanswerable", "Where was Ilse Brandt?", "", (), ()),
    ]
    answers = [
        Answer("1", "rag_tuned", "She sold jam.", (), 1, 1, 0.0), Answer("1", "base", "Jam and pears.", (), 1, 1, 0.0),
        Answer("2", "rag_tuned", "Nobody.", (), 1, 1, 0.0), Answer("3", "rag_tuned", "jam", (), 1, 1, 0.0),
    ]  # fmt: skip
    other = Entity("o", "Bert", "", "", (), ("c",))
    assert facts_recalled([ILSE, other], questions, answers) == {"i": 1, "o": 0}
    assert facts_recalled([ILSE], questions, answers, "base") == {"i": 2}


def test_a_run_without_pairs_or_answers_has_no_coverage_and_one_with_them_has(tmp_path):
    assert read_coverage(tmp_path) is None and read_facts_recalled(tmp_path, [ILSE]) is None
    write_records(tmp_path / "pairs.jsonl", [pair("p", "Did Ilse Brandt go?")])
    assert read_coverage(tmp_path).counts([ILSE])["pairs kept"] == {"i": 0}
    write_records(tmp_path / "kept.jsonl", [pair("p", "Did Ilse Brandt go?")])
    found = read_coverage(tmp_path)
    assert found.counts([ILSE])["pairs kept"] == {"i": 1}
    assert found.states == {"p": "undecided"}


def test_hostile_text_is_inert_in_every_card():
    entity = Entity("i", HOSTILE, HOSTILE, HOSTILE, (), ("c", HOSTILE))
    other = Entity("j", f"\u202e{HOSTILE}", "", "", (), ("c",))
    chunks = {"c": Chunk("c", "d", 0, 9, HOSTILE, "")}
    group = Community("k", 0, "", ("i",), HOSTILE, HOSTILE, ())
    link = Relationship("l", "i", "j", 1.0, HOSTILE, (), ("c",))
    coverage = Coverage([pair("p", HOSTILE, HOSTILE)], (), {"p": HOSTILE})
    names = {one.id: one.name for one in (entity, other)}
    cards = (
        entity_card(entity, 1, {HOSTILE}, chunks, DOCUMENTS, [group], coverage),
        relations_card([link], names, chunks, DOCUMENTS),
        community_card(group, HOSTILE, [entity, other], 2),
    )
    for card in cards:
        assert "<script" not in card and "<img" not in card and "\u202e" not in card
        assert "&lt;script&gt;" in card
