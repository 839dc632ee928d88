import random
import re
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from tiny import CHUNKS, DAYS, ENTITIES, NAMES, RELATIONSHIPS, chunks_of, embed, entities_of

from ragtune_lib.global_topics import digest, global_pairs, periods
from ragtune_lib.records import Chunk, Community, Sentence
from ragtune_lib.store import content_id
from ragtune_lib.synthesize import (
    ABSENT_ATTRIBUTES,
    Settings,
    absent_pairs,
    document_pairs,
    local_pairs,
)
from ragtune_lib.text import content_words, normalize, sentences, spoken_date
from ragtune_lib.units import cue_words, evidence_units

SETTINGS = Settings(corpus="journal", global_phrasings=2, topic_mentions=4, absent=10)
UNITS = evidence_units(CHUNKS)
TEXTS = {chunk.id: " ".join(sentences(chunk.text)) for chunk in CHUNKS}
DATES = {chunk.id: chunk.date for chunk in CHUNKS}
TWO = tuple(sorted(entity.id for entity in ENTITIES if entity.name in ("Tomas", "boat")))
COMMUNITY = Community("m1", 0, "", TWO, "Tomas, boat", "", ())
CUES = cue_words(UNITS, embed)
LOCAL = local_pairs(UNITS, CUES, ENTITIES, SETTINGS)
GLOBAL = global_pairs(UNITS, CUES, ENTITIES, RELATIONSHIPS, [COMMUNITY], embed, SETTINGS)
DOCUMENTS = document_pairs(CHUNKS, SETTINGS)
ABSENT = absent_pairs(UNITS, ENTITIES, SETTINGS)
ALL = [*LOCAL, *GLOBAL, *DOCUMENTS, *ABSENT]


def facts(pairs):
    found = defaultdict(list)
    for pair in pairs:
        found[pair.fact_id].append(pair)
    return found


def fact_of(unit):
    """The pairs that recall this unit."""
    return [pair for pair in LOCAL if unit.text in pair.reasoning and pair.evidence_ids == (unit.chunk_id,)]


def about(pair, *names):
    said = f" {normalize(f'{pair.question} {pair.answer}')} "
    return all(f" {normalize(name)} " in said for name in names)


def inside(unit):
    return [entity.name for entity in ENTITIES if f" {normalize(entity.name)} " in f" {normalize(unit.text)} "]


def test_units_hold_every_sentence_once_and_lean_sentences_are_joined():
    assert [unit.text for unit in UNITS[:3]] == [
        "Ilse Brandt sold 14 jars of plum jam at the harbour.",
        "Tomas painted the boat green with a brush. It dried in two days.",
        "Dr. Weiss met Tomas and Ilse Brandt at the harbour on Friday.",
    ]
    assert [(unit.chunk_id, unit.date) for unit in UNITS[:3]] == [("c0", "2025-01-06")] * 2 + [("c1", "2025-01-30")]
    for chunk in CHUNKS:
        assert " ".join(unit.text for unit in UNITS if unit.chunk_id == chunk.id) == TEXTS[chunk.id]


def test_a_sentence_in_two_overlapping_chunks_is_one_unit_and_a_repeated_one_elsewhere_is_another():
    overlap = [
        Chunk("a", "d1", 0, 30, "The first one rings here loudly. The second one rings here.", ""),
        Chunk("b", "d1", 20, 60, "The second one rings here. The third one rings here.", ""),
        Chunk("c", "d2", 0, 30, "The second one rings here.", ""),
    ]
    assert [(unit.chunk_id, unit.text.split()[1]) for unit in evidence_units(overlap)] == [
        ("a", "first"),
        ("a", "second"),
        ("b", "third"),
        ("c", "second"),
    ]


def test_no_join_is_longer_than_allowed_and_signs_alone_are_no_unit():
    text = "The old clock rings every hour. It rings. ... It is a very old and loud one."
    chunk = Chunk("a", "d", 0, 9, text, "")
    assert [unit.text for unit in evidence_units([chunk], longest=8)] == [
        "The old clock rings every hour. It rings.",
        "It is a very old and loud one.",
    ]
    assert len(evidence_units([chunk], longest=40)) == 1


def test_every_entity_and_every_two_of_them_are_asked_about_in_every_unit_that_names_them():
    checked = 0
    for unit in UNITS:
        names = inside(unit)
        pairs = fact_of(unit)
        for name in names:
            assert any(pair.kind == "entity" and about(pair, name) for pair in pairs), (name, unit)
        for at, a in enumerate(names):
            for b in names[at + 1 :]:
                checked += 1
                assert any(pair.kind == "relationship" and about(pair, a, b) for pair in pairs), (a, b, unit)
        assert len([pair for pair in pairs if pair.kind == "entity"]) == len(names)
    assert checked > 8


def test_every_unit_has_as_many_wordings_as_asked_for():
    for phrasings in (3, 6, 12):
        pairs = local_pairs(UNITS, CUES, ENTITIES, replace(SETTINGS, phrasings=phrasings))
        groups = facts(pairs)
        assert len(groups) == len(UNITS)
        for group in groups.values():
            assert len({pair.question for pair in group}) == len(group) >= phrasings, group


def test_a_fact_of_few_words_has_as_many_wordings_too():
    units = evidence_units(chunks_of({"2025-01-01": "Something broke in the shed again, alas."}))
    pairs = local_pairs(units, cue_words(units, embed), [], SETTINGS)
    assert len({pair.question for pair in pairs}) >= SETTINGS.phrasings


@pytest.mark.parametrize("pair", ALL, ids=lambda pair: pair.id)
def test_what_a_pair_recalls_stands_word_for_word_in_its_evidence(pair):
    assert set(pair.evidence_ids) <= set(TEXTS)
    assert bool(pair.evidence_ids) == (pair.kind != "absent")
    left = pair.reasoning
    for unit in sorted(UNITS, key=lambda unit: -len(unit.text)):
        if unit.chunk_id in pair.evidence_ids:
            left = left.replace(unit.text, " ")
    days = normalize(" ".join(f"on {spoken_date(DATES[name])}" for name in pair.evidence_ids)).split()
    assert set(normalize(left).split()) <= set(days), left
    if pair.scope == "local" and pair.kind not in ("document", "absent"):
        assert pair.answer in TEXTS[pair.evidence_ids[0]]
    elif pair.kind != "absent":
        assert pair.answer == pair.reasoning


def told(pair, units=UNITS):
    """The units that a pair recalls, in the order of the corpus, each with what stands in brackets behind it."""
    found = [unit for unit in units if unit.chunk_id in pair.evidence_ids and unit.text in pair.reasoning]
    behind = [re.match(r" \(([^)]*)\)|", pair.reasoning.split(unit.text, 1)[1])[1] or "" for unit in found]
    return list(zip(found, behind, strict=True))


@pytest.mark.parametrize("pair", [*LOCAL, *GLOBAL], ids=lambda pair: pair.id)
def test_what_is_recalled_comes_in_the_order_of_time_and_with_no_other_day_than_its_own(pair):
    units = told(pair)
    assert {unit.chunk_id for unit, _ in units} == set(pair.evidence_ids)
    assert [pair.reasoning.index(unit.text) for unit, _ in units] == sorted(
        pair.reasoning.index(u.text) for u, _ in units
    )
    assert all(day in spoken_date(unit.date) for unit, day in units)
    if pair.kind == "change":
        assert all(day for _, day in units), "first and last cannot be told apart without their time"


def test_a_year_is_named_where_there_are_several_and_only_there():
    chunks = [replace(chunk, date=chunk.date.replace("2025-12", "2026-12")) for chunk in CHUNKS]
    units = evidence_units(chunks)
    pairs = global_pairs(units, cue_words(units, embed), ENTITIES, RELATIONSHIPS, [], embed, SETTINGS)
    changes = [pair for pair in pairs if pair.kind == "change"]
    assert changes
    for pair in changes:
        assert all(day.endswith(unit.date[:4]) for unit, day in told(pair, units))
    assert all(re.search(r"20\d\d", pair.question) for pair in document_pairs(chunks, SETTINGS))
    assert not [pair for pair in [*LOCAL, *GLOBAL, *DOCUMENTS] if "2025" in pair.reasoning]


def test_ids_come_from_the_words_and_no_words_occur_twice():
    assert len({pair.id for pair in ALL}) == len(ALL)
    assert len({(pair.question, pair.reasoning, pair.answer) for pair in ALL}) == len(ALL)
    assert all(pair.id == content_id(pair.question, pair.cues, pair.reasoning, pair.answer) for pair in ALL)


def test_the_same_input_gives_the_same_pairs_and_another_seed_gives_others():
    assert local_pairs(UNITS, CUES, ENTITIES, SETTINGS) == LOCAL
    assert global_pairs(UNITS, CUES, ENTITIES, RELATIONSHIPS, [COMMUNITY], embed, SETTINGS) == GLOBAL
    assert document_pairs(CHUNKS, SETTINGS) == DOCUMENTS
    assert absent_pairs(UNITS, ENTITIES, SETTINGS) == ABSENT
    other = replace(SETTINGS, seed=18)
    assert local_pairs(UNITS, CUES, ENTITIES, other) != LOCAL
    assert absent_pairs(UNITS, ENTITIES, other) != ABSENT


def test_entities_with_a_models_type_are_asked_about_like_names():
    typed = [replace(entity, kind="geo") if entity.kind == "name" else entity for entity in ENTITIES]
    assert typed != list(ENTITIES) and absent_pairs(UNITS, typed, SETTINGS) == ABSENT


def test_the_order_of_entities_does_not_matter_for_local_and_absent_pairs():
    shuffled = ENTITIES[:]
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        assert local_pairs(UNITS, CUES, shuffled, SETTINGS) == LOCAL
        assert absent_pairs(UNITS, shuffled, SETTINGS) == ABSENT


def named_in(name):
    return sum(name in unit.text for unit in UNITS)


def test_only_what_is_named_often_enough_is_a_global_topic():
    assert {name: named_in(name) for name in NAMES} == {
        "Ilse Brandt": 5,
        "Tomas": 5,
        "Dr. Weiss": 1,
        "harbour": 4,
        "boat": 3,
    }
    for least in (2, 4, 5, 6):
        pairs = global_pairs(UNITS, CUES, ENTITIES, RELATIONSHIPS, [], embed, replace(SETTINGS, topic_mentions=least))
        asked = {name for name in NAMES for pair in pairs if pair.kind == "entity" and name in pair.question}
        assert asked == {name for name in NAMES if named_in(name) >= least}
        both = [pair.question for pair in pairs if pair.kind == "relationship"]
        assert all(any(normalize(question).count(normalize(name)) for name in NAMES) for question in both)
    pairs = global_pairs(UNITS, CUES, ENTITIES, RELATIONSHIPS, [], embed, replace(SETTINGS, topic_mentions=3))
    both = {pair.question for pair in pairs if pair.kind == "relationship"}
    assert len(both) == 2 * 3  # harbour with Ilse Brandt (3 units) and Tomas (3), Tomas with boat (3); wordings
    assert all(("Tomas" in text) + ("harbour" in text) + ("boat" in text) + ("Brandt" in text) == 2 for text in both)


def test_each_global_topic_has_the_wordings_and_sentences_that_are_asked_for():
    settings = replace(SETTINGS, global_phrasings=1, global_sentences=2)
    for setting in (SETTINGS, settings):
        pairs = global_pairs(UNITS, CUES, ENTITIES, RELATIONSHIPS, [COMMUNITY], embed, setting)
        assert {"entity", "change", "community", "period", "theme"} <= {pair.kind for pair in pairs}
        for group in facts(pairs).values():
            assert len(group) == setting.global_phrasings
            assert len({pair.reasoning for pair in group}) == 1
        assert all(1 <= len(told(pair)) <= setting.global_sentences for pair in pairs)


def test_a_global_pair_has_the_cues_of_each_of_its_sentences():
    cues = {unit.text: words for unit, words in zip(UNITS, CUES, strict=True)}
    for pair in GLOBAL:
        lines = pair.reasoning.split("\n")
        assert [cues[re.sub(r" \([A-Z]\w+\)$", "", line)] for line in lines] == pair.cues.split("\n")
    assert any(len(pair.cues.split("\n")) > 1 for pair in GLOBAL)


def test_a_community_is_asked_for_by_its_title_and_answered_by_its_members():
    pairs = [pair for pair in GLOBAL if pair.kind == "community"]
    assert pairs and all("Tomas, boat" in pair.question for pair in pairs)
    for pair in pairs:
        assert all("Tomas" in unit.text or "boat" in unit.text for unit, _ in told(pair))
    alone = replace(COMMUNITY, entity_ids=tuple(entity.id for entity in ENTITIES if entity.name == "Tomas"))
    assert not [p for p in global_pairs(UNITS, CUES, ENTITIES, [], [alone], embed, SETTINGS) if p.kind == "community"]


def test_a_digest_takes_the_most_central_of_each_part():
    vectors = np.eye(8, dtype=np.float32)
    vectors[[1, 4, 6]] = 1 / np.sqrt(8)  # near everything
    assert digest([0, 1, 2, 3, 4, 5, 6, 7], vectors, 3) == [1, 4, 6]  # parts 0-2, 3-5, 6-7
    assert digest([0, 2, 4, 5], vectors, 2) == [0, 4]  # a tie goes to the first
    assert digest([3, 5], vectors, 4) == [3, 5]
    assert digest([], vectors, 4) == []


def test_a_digest_is_spread_over_the_whole_stretch():
    chooser = np.random.default_rng(3)
    vectors = chooser.normal(size=(60, 5)).astype(np.float32)
    for count in (2, 3, 5):
        found = sorted(chooser.choice(60, 30, replace=False).tolist())
        chosen = digest(found, vectors, count)
        size = 30 / count
        assert [int(found.index(position) // size) for position in chosen] == list(range(count))


def test_periods_are_the_months_and_seasons_of_several_days():
    found = dict(periods(UNITS))
    days = {name: sorted({UNITS[at].date for at in positions}) for name, positions in found.items()}
    assert days == {
        "January 2025": ["2025-01-06", "2025-01-30"],
        "the winter": ["2025-01-06", "2025-01-30", "2025-12-02"],
        "the spring": ["2025-03-09", "2025-04-20"],
    }
    assert periods([replace(unit, date="") for unit in UNITS]) == []


def test_a_short_dated_document_is_asked_for_by_its_day():
    groups = facts(DOCUMENTS)
    assert len(groups) == len(DAYS)
    for group in groups.values():
        assert len(group) == SETTINGS.document_phrasings
        for pair in group:
            (name,) = pair.evidence_ids
            assert TEXTS[name] in pair.answer
            assert spoken_date(DATES[name]).removesuffix(" 2025") in pair.question
            assert "2025" not in pair.question


def test_a_day_that_is_not_told_by_one_short_document_is_not_asked_for():
    undated, empty, once, again = (
        replace(CHUNKS[0], date=""),
        replace(CHUNKS[1], text="# A title"),
        replace(CHUNKS[2], id="x"),
        CHUNKS[2],
    )
    pairs = document_pairs([undated, empty, once, again, CHUNKS[3]], SETTINGS)
    assert {pair.evidence_ids for pair in pairs} == {("c3",)}
    longest = len(TEXTS["c3"].split())
    assert document_pairs([CHUNKS[3]], SETTINGS, longest=longest)
    assert not document_pairs([CHUNKS[3]], SETTINGS, longest=longest - 1)
    later = document_pairs([CHUNKS[0], replace(CHUNKS[3], date="2026-04-20")], SETTINGS)
    assert all("2025" in pair.question or "2026" in pair.question for pair in later)


def test_abstention_asks_for_what_stands_nowhere():
    known = {word for unit in UNITS for word in content_words(unit.text)}
    assert len(ABSENT) == SETTINGS.absent
    for pair in ABSENT:
        attribute = next(words for words in ABSENT_ATTRIBUTES if words in pair.question)
        assert not content_words(attribute) & known
        assert any(name in pair.question for name, kind in NAMES.items() if kind == "name")
        assert (pair.reasoning, pair.answer, pair.evidence_ids) == ("", "The journal does not say.", ())


def test_an_attribute_of_which_a_word_is_known_is_not_asked_for():
    chunks = chunks_of({"2025-01-06": "Tomas had his wedding in a shoe of every colour at his home."})
    people = entities_of(chunks, {"Tomas": "name"})
    pairs = absent_pairs(evidence_units(chunks), people, Settings(absent=1000))
    assert pairs and all(pair.answer == "The documents do not say." for pair in pairs)
    for word in ("wedding", "shoe", "colour", "home town"):
        assert not [pair.question for pair in pairs if word in pair.question]
    assert len({pair.fact_id for pair in pairs}) == len(pairs) == len(ABSENT_ATTRIBUTES) - 4


def test_only_names_are_asked_for_attributes():
    phrases = [entity for entity in ENTITIES if entity.kind == "phrase"]
    assert absent_pairs(UNITS, phrases, SETTINGS) == []


def test_nothing_gives_nothing():
    assert evidence_units([]) == local_pairs([], [], [], SETTINGS) == document_pairs([], SETTINGS) == []
    assert global_pairs([], [], [], [], [], embed, SETTINGS) == absent_pairs([], [], SETTINGS) == []
    heading = [Chunk("c", "d", 0, 9, "# Only a title", "2025-01-01")]
    assert evidence_units(heading) == document_pairs(heading, SETTINGS) == []


def test_names_with_signs_of_a_pattern_do_no_harm():
    hostile = chunks_of({"2025-01-01": "We met C++ (the {name} \\1) and A* in the {corpus} shed with a lantern."})
    entities = entities_of(hostile, {"{name}": "phrase", "A": "name"})
    entities += [replace(entities[0], id="e9", name="C++ (the", evidence=entities[0].evidence)]
    units = evidence_units(hostile)
    pairs = local_pairs(units, cue_words(units, embed), entities, SETTINGS) + global_pairs(
        units, cue_words(units, embed), entities, [], [], embed, replace(SETTINGS, topic_mentions=1)
    )
    assert any("C++ (the" in pair.question for pair in pairs)
    assert all(re.search(r"\{name\}|\{corpus\}", pair.reasoning) for pair in pairs)


def test_a_sentence_is_found_in_the_unit_that_joined_it():
    mention = Sentence("It dried in two days.", "c0", "2025-01-06")
    paint = replace(ENTITIES[0], id="e0", name="days", evidence=(mention,), chunk_ids=("c0",))
    pairs = global_pairs(UNITS, CUES, [paint], [], [], embed, replace(SETTINGS, topic_mentions=1))
    asked = [pair for pair in pairs if pair.kind == "entity"]
    assert asked and all("Tomas painted the boat green with a brush. It dried" in pair.answer for pair in asked)


def test_cues_are_words_of_their_unit_that_few_other_units_have():
    counts = defaultdict(int)
    for unit in UNITS:
        for word in content_words(unit.text):
            counts[word] += 1
    for unit, cues in zip(UNITS, CUES, strict=True):
        words = cues.split(", ")
        assert 1 <= len(words) <= 3
        assert {normalize(word) for word in words} <= content_words(unit.text)
        rare = {word for word in content_words(unit.text) if counts[word] <= 4 and not word.isdigit()}
        assert not rare or {normalize(word) for word in words} <= rare


def test_the_cue_nearest_to_its_unit_comes_first():
    def near(texts):  # a word is the nearer to the unit the longer it is
        return np.array([[1.0] if " " in text else [len(text) / 100] for text in texts])

    unit = Sentence("He mended the ferry with a saucepan.", "c1", "")
    assert cue_words([unit], near) == ["saucepan, mended, ferry"]
    assert cue_words([unit], near, count=1) == ["saucepan"]
    assert cue_words([], near) == []


def test_local_pairs_carry_the_cues_of_their_unit_and_documents_none():
    own = {(unit.text, unit.chunk_id): cues for unit, cues in zip(UNITS, CUES, strict=True)}
    assert all(pair.cues == own[pair.reasoning, pair.evidence_ids[0]] for pair in LOCAL)
    assert not any(pair.cues for pair in [*DOCUMENTS, *ABSENT])


def test_where_a_model_told_persons_apart_they_alone_are_asked_what_nobody_says():
    typed = [replace(entity, kind="person" if entity is ENTITIES[0] else "event") for entity in ENTITIES]
    pairs = absent_pairs(UNITS, typed, SETTINGS)
    assert pairs
    assert all(ENTITIES[0].name in pair.question for pair in pairs)
