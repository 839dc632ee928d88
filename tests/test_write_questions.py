import numpy as np
import pytest
import tiny

from ragtune_lib.models import load_model, load_tokenizer
from ragtune_lib.records import Sentence
from ragtune_lib.store import content_id
from ragtune_lib.write_questions import draft_questions, round_trip, written_pairs

one_thread = pytest.fixture(scope="module", autouse=True)(tiny.one_thread)
UNITS = [Sentence("He mended the ferry.", "c1", ""), Sentence("Plums cost nine pounds.", "c2", "")]


def embed(texts):
    """One dimension for the ferry, one for plums, one for everything else."""
    rows = [[float("ferry" in text), float("lum" in text), 0.1] for text in map(str.lower, texts)]
    return np.array([np.array(row) / np.linalg.norm(row) for row in rows])


def test_a_question_stays_when_its_own_unit_is_the_nearest_of_all():
    drafted = [(0, "Who mended the ferry?"), (0, "What did plums cost?"), (1, "How much were plums?")]
    assert round_trip(drafted, UNITS, embed, 9) == [drafted[0], drafted[2]]
    assert round_trip([], UNITS, embed, 9) == []


def test_no_more_questions_of_a_unit_stay_than_are_wanted_and_the_first_ones_win():
    drafted = [(at % 2, f"What about {'plums' if at % 2 else 'the ferry'} {at}?") for at in range(10)]
    assert round_trip(drafted, UNITS, embed, 2) == drafted[:4]
    assert round_trip(drafted, UNITS, embed, 0) == []


def test_a_written_pair_answers_with_its_whole_unit_and_shares_its_fact_with_the_rules():
    (pair,) = written_pairs([(1, "How much were plums?")], UNITS, ["ferry", "plums, nine"], "embedded")
    assert (pair.scope, pair.kind, pair.writer, pair.cues) == ("local", "written", "embedded", "plums, nine")
    assert pair.answer == pair.reasoning == UNITS[1].text
    assert pair.evidence_ids == ("c2",)
    assert pair.fact_id == content_id("unit", UNITS[1].text, "c2")


def test_drafts_are_split_into_questions_and_each_is_kept_once(monkeypatch):
    said = iter(["Who mended the ferry? who mended the ferry? What? Was it he", "What did the plums cost? " * 2])
    asked = {}

    def generate(model, tokenizer, prompts, *rest, **options):
        asked.update(prompts=prompts, **options)
        return [next(said) for _ in prompts]

    monkeypatch.setattr("ragtune_lib.write_questions.generate", generate)
    monkeypatch.setattr("ragtune_lib.write_questions.Prefix", lambda model, tokenizer, text: text)
    found = draft_questions(UNITS, None, None, 1, "Ilse", 17)
    assert found == [(0, "Who mended the ferry?"), (1, "What did the plums cost?")]
    assert [UNITS[at].text in prompt for at, prompt in enumerate(asked["prompts"])] == [True, True]
    assert "Ilse's sister" in asked["prefix"] and "the narrator" not in asked["prefix"]


@pytest.mark.model
def test_the_embedded_model_writes_questions_that_lead_back():
    from ragtune_lib.models import load_embedder

    units = [
        Sentence("Zoltan carried a pan of lentil soup up the stairs for luck.", "c1", ""),
        Sentence("The vet charged 95 pounds and praised the haddock.", "c2", ""),
        Sentence("We launched the dinghy on the river after nineteen Saturdays.", "c3", ""),
    ]
    drafted = draft_questions(units, load_model("embedded"), load_tokenizer("embedded"), 3, "the narrator", 17)
    kept = round_trip(drafted, units, load_embedder(), 12)
    assert len(kept) >= 6 and {at for at, _ in kept} == {0, 1, 2}
