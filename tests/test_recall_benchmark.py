"""The questions that settings are chosen by are sound, and are not the held-out ones."""

from benchmarks.recall import DEVELOPMENT

from ragtune_lib.questions import read_questions
from ragtune_lib.store import ROOT
from ragtune_lib.text import contains, normalize

HELD_OUT = read_questions(ROOT / "data" / "journal" / "questions.jsonl")


def test_development_questions_are_none_of_the_held_out_ones():
    asked = {normalize(question.question) for question in HELD_OUT}
    found = read_questions(DEVELOPMENT)
    assert len(found) > 30
    assert not asked & {normalize(question.question) for question in found}


def test_no_development_question_asks_for_a_held_out_fact():
    def facts(questions):
        return {
            (name, normalize(wording))
            for one in questions
            for name in one.evidence
            for fact in one.facts
            for wording in fact
        }

    assert not facts(read_questions(DEVELOPMENT)) & facts(HELD_OUT)


def test_each_fact_stands_in_its_evidence():
    for question in read_questions(DEVELOPMENT):
        texts = [normalize((ROOT / "data" / "journal" / f"{name}.md").read_text()) for name in question.evidence]
        for wordings in question.facts:
            assert any(contains(text, wording) for text in texts for wording in wordings), question.id
