from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tiny import CHUNKS, ENTITIES, RELATIONSHIPS, chunks_of, embed

from ragtune_lib.global_topics import global_pairs
from ragtune_lib.questions import HELD_OUT_ABSENT, generate_questions, held_out_questions, read_questions
from ragtune_lib.records import QAPair
from ragtune_lib.store import write_records
from ragtune_lib.synthesize import Settings, absent_pairs, local_pairs, make_pair
from ragtune_lib.text import contains, normalize, sentences
from ragtune_lib.units import evidence_units

SETTINGS = Settings(corpus="journal", phrasings=3, topic_mentions=3, absent=12)
UNITS = evidence_units(CHUNKS)
PAIRS = [
    *local_pairs(UNITS, [""] * len(UNITS), ENTITIES, SETTINGS),
    *global_pairs(UNITS, [""] * len(UNITS), ENTITIES, RELATIONSHIPS, [], embed, SETTINGS),
    *absent_pairs(UNITS, ENTITIES, SETTINGS),
]
TEXTS = {chunk.id: normalize(" ".join(sentences(chunk.text))) for chunk in CHUNKS}


def made(pairs=PAIRS, chunks=CHUNKS, count=24, seed=17, **options):
    return generate_questions(pairs, chunks, embed, count, seed, **options)


def change(name, reasoning, *evidence):
    """A training pair of the form that global held-out questions are made after."""
    return QAPair("x", "global", "change", f"Compare the first and the last mentions of {name}.", reasoning, "It grew.", evidence, "template", "f")  # fmt: skip


def absent(question):
    return make_pair("local", "absent", question, "", "The documents do not say.", [], "template", question)


@pytest.mark.parametrize("limit", [0.9, 0.6])
def test_no_generated_question_is_worded_like_a_training_question_or_like_another(limit):
    questions = [question.question for question in made(limit=limit)]
    assert questions
    assert not {normalize(text) for text in questions} & {normalize(pair.question) for pair in PAIRS}
    vectors = embed(questions)
    assert (vectors @ embed([pair.question for pair in PAIRS]).T).max() < limit
    assert (vectors @ vectors.T - 2 * np.eye(len(vectors))).max() < limit


def test_a_question_that_was_trained_is_left_out_and_stays_in_otherwise():
    question = next(q for q in made(pairs=[], count=80) if q.scope == "local")
    trained = make_pair("local", "entity", question.question.upper(), "", "another", [], "person", "f")
    assert question.question not in {q.question for q in made(pairs=[trained], count=80)}
    assert question.question not in {q.question for q in made(pairs=[trained], count=80, limit=2)}


def test_a_span_that_a_training_question_asks_for_is_not_asked_for_in_other_words():
    question = next(q for q in made(pairs=[], count=80) if q.scope == "local")
    trained = QAPair("x", "local", "entity", "Wholly unlike?", "", question.answer, question.evidence, "person", "f")
    assert question not in made(pairs=[trained], count=80)
    assert question in made(pairs=[replace(trained, evidence_ids=("elsewhere",))], count=80)


def test_a_span_that_its_sentence_names_twice_is_not_asked_for():
    told = chunks_of({"2025-01-06": "Old Tomas painted the boat at the pier near the boat, and sold a lantern."})
    answers = {question.answer for question in made(pairs=[], chunks=told, count=80)}
    assert "a lantern" in answers and "the boat" not in answers


def test_facts_stand_in_the_evidence_and_not_in_the_question():
    questions = [question for question in made(count=80) if question.scope != "unanswerable"]
    assert {question.scope for question in questions} == {"local", "global"}
    for question in questions:
        assert question.facts and all(question.facts)
        assert len(set(question.facts)) == len(question.facts)
        for fact in question.facts:
            for wording in fact:
                assert any(contains(TEXTS[name], wording) for name in question.evidence), (wording, question)
            if question.scope == "local":
                assert not contains(normalize(question.question), fact[0])


def test_a_reference_states_all_the_facts_of_its_question():
    for question in made(count=80):
        assert all(any(contains(normalize(question.answer), wording) for wording in fact) for fact in question.facts)


def test_facts_of_a_global_question_are_moments_and_not_the_dates_that_a_pair_adds():
    told = "Tomas pulled the boat out of the harbour with a crane. (9 March) Tomas sold the boat to a farmer for 300 euros. (20 April)"  # fmt: skip
    (question,) = (q for q in made(pairs=[change("Tomas", told, "c2", "c3")], count=80) if q.scope == "global")
    assert not [wording for fact in question.facts for wording in fact if "March" in wording or "April" in wording]
    assert len(question.facts) == 2
    assert question.evidence == ("c2", "c3")


def test_a_name_with_a_dot_or_with_of_stays_whole():
    days = {
        "2025-01-06": "Dr. Weiss of Oz met the crew. A gull of the Isle of Man ate the bread.",
        "2025-02-06": "Dr. Weiss of Oz sold the shop. A cook of the Isle of Man lost the spoon.",
    }
    chunks = chunks_of(days)
    told = " ".join(text for chunk in chunks for text in sentences(chunk.text))
    for name in ("Dr. Weiss of Oz", "Isle of Man"):
        forms = [
            f"How did things change with {name} over time?",
            f"How did the story of {name} go from beginning to end?",
            f"Compare the first and the last mentions of {name}.",
        ]
        for form in forms:
            pair = replace(change(name, told, "c0", "c1"), question=form)
            found = [q.question for q in made(pairs=[pair], chunks=chunks, count=80) if q.scope == "global"]
            assert len(found) == 1 and f" {name} " in found[0], found


def test_a_topic_with_fewer_than_two_facts_gives_no_global_question():
    one = change("Tomas", "Tomas sold the boat to a farmer for 300 euros.", "c3")
    assert "global" not in {question.scope for question in made(pairs=[one], count=80)}
    edited = change("Tomas", "Something that a person wrote and no document says.", "c2", "c3")
    assert "global" not in {question.scope for question in made(pairs=[edited], count=80)}


@pytest.mark.parametrize("form", ["What is {}'s star sign?", "Does the journal say what {}'s star sign is?"])
def test_unanswerable_questions_carry_the_whole_name(form):
    names = ("Ilse Brandt", "Old Noor's Mill")
    questions = [q for q in made(pairs=[absent(form.format(name)) for name in names], count=80) if not q.facts]
    assert {q.question for q in questions} <= {
        text.format(name=name) for name in names for text in HELD_OUT_ABSENT.values()
    }
    assert all(any(name in q.question for q in questions) for name in names)
    assert all((q.scope, q.evidence) == ("unanswerable", ()) for q in questions)


def test_a_name_that_cannot_be_read_from_an_edited_question_is_left_out():
    assert not [q for q in made(pairs=[absent("How did Tomas call his cat?")], count=80) if not q.facts]


def test_an_unanswerable_question_does_not_ask_for_what_the_documents_may_say():
    assert set(HELD_OUT_ABSENT) == {word for word, form in HELD_OUT_ABSENT.items() if contains(normalize(form), word)}
    pairs = [absent("What is Tomas's star sign?")]
    for word, form in HELD_OUT_ABSENT.items():
        told = chunks_of({"2025-01-01": f"Tomas said a thing about {word} to the crew."})
        questions = {question.question for question in made(pairs=pairs, chunks=told, count=200)}
        assert form.format(name="Tomas") not in questions
        assert len([q for q in questions if "Tomas" in q]) >= len(HELD_OUT_ABSENT) - 1


@pytest.mark.parametrize("count", [8, 16, 24])
def test_two_thirds_are_local_a_fifth_global_and_an_eighth_unanswerable(count):
    wide = [
        change(f"Tomas {at}", " ".join(unit.text for unit in UNITS), *sorted({unit.chunk_id for unit in UNITS}))
        for at in ("one", "two", "three", "four", "five")
    ]
    scopes = Counter(question.scope for question in made(pairs=[*wide, *absent_pairs(UNITS, ENTITIES, SETTINGS)], count=count, limit=0.99))  # fmt: skip
    assert scopes["global"] == min(5, count // 5)
    assert scopes["unanswerable"] == count // 8
    assert scopes["local"] == count - count // 5 - count // 8


def test_the_same_input_gives_the_same_questions_and_another_seed_others():
    assert made() == made() == made(pairs=list(PAIRS), chunks=list(CHUNKS))
    assert made(seed=18) != made()
    assert len({question.id for question in made(count=80)}) == len(made(count=80))


def test_too_few_questions_are_a_problem_and_enough_are_none():
    questions, problems = held_out_questions("", PAIRS, CHUNKS, embed, 1000, 17)
    assert questions == made(count=1000)
    assert len(problems) == 1 and f"{len(questions)} of 1000" in problems[0].reason
    few, none = held_out_questions("", PAIRS, CHUNKS, embed, 8, 17)
    assert len(few) == 8 and none == []


def test_what_is_generated_is_a_questions_file_that_can_be_read(tmp_path):
    questions = made(count=80)
    write_records(tmp_path / "questions.jsonl", questions)
    assert read_questions(tmp_path / "questions.jsonl") == questions


def test_a_questions_file_is_used_as_it_is(tmp_path):
    write_records(tmp_path / "mine.jsonl", made()[:3])
    assert held_out_questions(str(tmp_path / "mine.jsonl"), PAIRS, CHUNKS, embed, 99, 17) == (made()[:3], [])


def test_nothing_gives_nothing():
    assert generate_questions([], [], embed, 24, 17) == []
    assert all(question.scope == "local" for question in made(pairs=[]))
