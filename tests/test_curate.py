import json
import random
import threading
from dataclasses import replace

import pytest

from ragtune_lib.curate import Curation, fold, kept_pairs, read_decisions, seen, standing
from ragtune_lib.records import Decision, Flag, QAPair
from ragtune_lib.store import read_lines


def pair(id, scope="local"):
    return QAPair(id, scope, "entity", f"question {id}?", f"reasoning {id}", f"answer {id}", ("c1",), "template", "f1")


A, B, C, D = PAIRS = [pair("a"), pair("b", "global"), pair("c"), pair("d", "global")]
FLAGS = [Flag("c", "quote", "not in the evidence", True), Flag("d", "echo", "repeats", False)]
EDIT = {"question": "new question?", "reasoning": "", "answer": "new answer"}


def curation(folder, reviewer="", pairs=PAIRS):
    return Curation(folder, pairs, FLAGS, reviewer)


def test_undecided_pairs_are_used_unless_a_flag_blocks_them():
    assert kept_pairs(PAIRS, FLAGS, []) == [A, B, D]


def test_a_person_has_the_last_word_over_checks():
    decisions = [Decision("c", "keep"), Decision("a", "drop"), Decision("b", "edit", **EDIT)]
    kept = kept_pairs(PAIRS, FLAGS, decisions)
    assert [one.id for one in kept] == ["b", "c", "d"]
    edited = kept[0]
    assert (edited.question, edited.reasoning, edited.answer, edited.writer) == (
        "new question?",
        "",
        "new answer",
        "person",
    )
    assert (edited.evidence_ids, edited.fact_id, edited.scope) == (B.evidence_ids, B.fact_id, B.scope)
    assert kept[1:] == [C, D]


def test_the_last_decision_counts_and_a_note_changes_nothing():
    decisions = [Decision("a", "keep"), Decision("a", "drop"), Decision("a", "note", note="why?")]
    assert fold(decisions)["a"].action == "drop"
    assert seen([Decision("a", "note", note="why?")]) == 0
    assert seen(decisions) == 1


def test_undo_brings_back_what_was_decided_before():
    decisions = [Decision("a", "keep"), Decision("a", "drop"), Decision("a", "undo")]
    assert fold(decisions)["a"].action == "keep"
    assert fold([*decisions, Decision("a", "undo")]) == {}
    assert fold([*decisions, Decision("a", "undo"), Decision("a", "undo")]) == {}


def test_undo_takes_back_only_the_own_decision_of_the_pair_it_names():
    mine, yours = Decision("a", "keep", reviewer="me"), Decision("a", "drop", reviewer="you")
    assert standing([yours, mine, Decision("a", "undo", reviewer="you")]) == [mine]
    assert standing([mine, Decision("b", "undo", reviewer="me")]) == [mine]


def test_state_survives_a_restart_after_any_sequence_of_clicks(tmp_path):
    chance = random.Random(5)
    review = curation(tmp_path)
    for _ in range(60):
        action = chance.choice(["keep", "drop", "edit", "note", "undo"])
        if action == "undo":
            review.undo()
        else:
            review.decide(chance.choice("abcd"), action, **(EDIT if action == "edit" else {"note": "n"}))
        again = curation(tmp_path)
        assert again.problems == []
        assert again.decisions == review.decisions
        assert (again.counts(), again.queue(), again.history()) == (review.counts(), review.queue(), review.history())


def test_every_undo_returns_to_the_state_before_the_click(tmp_path):
    review = curation(tmp_path)
    states = []
    for pair_id, action in [("a", "keep"), ("b", "drop"), ("a", "drop"), ("c", "keep")]:
        states.append([review.state(one) for one in "abcd"])
        review.decide(pair_id, action)
        review.decide(pair_id, "note", note="a note is not undone")
    for state in reversed(states):
        review.undo()
        assert [review.state(one) for one in "abcd"] == state
    assert review.undo() is None
    assert len(review.history()) == 4  # the notes


def test_a_decision_is_on_the_disk_when_decide_returns(tmp_path):
    review = curation(tmp_path, reviewer="Ada")
    review.decide("b", "edit", **EDIT)
    (row,), bad = read_lines(tmp_path / "decisions.jsonl")
    assert bad == []
    assert (row["pair_id"], row["action"], row["answer"], row["reviewer"]) == ("b", "edit", "new answer", "Ada")
    assert row["at"].endswith("+00:00")


def test_flagged_pairs_come_first_and_the_first_undecided_is_current(tmp_path):
    review = curation(tmp_path)
    assert review.queue() == ["c", "d", "a", "b"]
    review.decide("c", "drop")
    assert curation(tmp_path).current() == "d"
    assert (review.queue("flagged"), review.queue("all")) == (["c", "d"], ["a", "b", "c", "d"])
    assert (review.queue("local"), review.queue("global")) == (["a", "c"], ["b", "d"])
    with pytest.raises(ValueError, match="unknown view 'lost'"):
        review.queue("lost")


def test_counts_add_up(tmp_path):
    review = curation(tmp_path)
    review.decide("a", "keep")
    review.decide("b", "drop")
    review.decide("d", "edit", **EDIT)
    assert review.counts() == {
        "pairs": 4, "decided": 3, "undecided": 1, "keep": 1, "edit": 1, "drop": 1, "flagged": 2, "blocked": 1, "kept": 2,
    }  # fmt: skip
    assert [review.pair(one).answer for one in "ad"] == ["answer a", "new answer"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("z", "keep"), "no pair with id 'z'"),
        (("a", "like"), "unknown action 'like'"),
        (("a", "edit"), "an edit needs a question and an answer"),
        (("a", "note"), "a note needs a text"),
        (("a", "undo"), "use undo"),
    ],
)
def test_a_wrong_decision_is_refused_and_not_written(tmp_path, call, message):
    review = curation(tmp_path)
    with pytest.raises(ValueError, match=message):
        review.decide(*call)
    assert not (tmp_path / "decisions.jsonl").exists()


def test_a_decision_that_cannot_be_written_changes_no_state(tmp_path):
    review = curation(tmp_path)
    (tmp_path / "decisions.jsonl").mkdir()
    with pytest.raises(OSError, match="decisions"):
        review.decide("a", "drop")
    assert review.state("a") == "undecided"


def test_bad_lines_are_named_and_neither_fatal_nor_lost(tmp_path):
    path = tmp_path / "decisions.jsonl"
    lines = [
        '{"pair_id": "a", "action": "drop"}',
        '{"pair_id": "b", "act',
        "",
        '{"pair_id": "b", "action": "like"}',
        '{"action": "drop"}',
        '{"pair_id": "b", "action": "edit", "question": "q"}',
        '{"pair_id": ["b"], "action": "drop"}',
        '{"pair_id": "gone", "action": "keep"}',
        "[]",
        '{"pair_id": "b", "action": "drop", "mood": "bad"}',
    ]
    text = "\n".join(lines) + "\n\xff cut"
    path.write_bytes(text.encode("latin-1"))
    review = curation(tmp_path)
    assert [problem.item for problem in review.problems] == [
        f"decisions.jsonl, line {number}" for number in (2, 4, 5, 6, 7, 8, 9, 10, 11)
    ]
    reasons = [problem.reason for problem in review.problems]
    for reason, word in zip(
        reasons,
        ("JSON", "'like'", "missing field 'pair_id'", "edit", "pair_id", "stale", "object", "mood", "JSON"),
        strict=True,
    ):
        assert word in reason
    assert [review.state(one) for one in "ab"] == ["drop", "undecided"]
    review.decide("b", "keep")
    assert path.read_bytes().startswith(text.encode("latin-1"))
    assert curation(tmp_path).state("b") == "keep"


def test_a_stale_decision_counts_again_when_its_pair_is_back(tmp_path):
    curation(tmp_path).decide("a", "drop")
    without = curation(tmp_path, pairs=[B, C, D])
    assert (without.counts()["decided"], without.history(), len(without.problems)) == (0, [], 1)
    assert without.undo() is None
    assert without.kept() == [B, D]
    assert curation(tmp_path).state("a") == "drop"


def test_a_missing_decisions_file_is_an_empty_one(tmp_path):
    assert read_decisions(tmp_path / "decisions.jsonl", "abcd") == ([], [])


def test_two_reviewers_share_a_file_and_undo_their_own(tmp_path):
    ada = curation(tmp_path, "Ada")
    ada.decide("a", "drop")
    bob = curation(tmp_path, "Bob")
    assert bob.undo() is None
    bob.decide("b", "drop")
    assert bob.undo().pair_id == "b"
    assert [curation(tmp_path).state(one) for one in "ab"] == ["drop", "undecided"]


def test_decisions_from_many_threads_are_all_written(tmp_path):
    review = curation(tmp_path)
    threads = [threading.Thread(target=review.decide, args=("abcd"[n % 4], "keep")) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["keep"] * 24
    assert curation(tmp_path).decisions == review.decisions


@pytest.mark.parametrize(
    ("reasoning", "cues"),
    [("She brought Soup up the stairs.", "soup, stairs"), ("She brought soup.", ""), ("", "")],
    ids=["still there", "one word gone", "no reasoning"],
)
def test_cues_stay_only_while_an_edited_reasoning_holds_their_words(reasoning, cues):
    whole = replace(A, reasoning="A pan of soup stood on the stairs.", cues="soup, stairs")
    edited = kept_pairs([whole], [], [Decision("a", "edit", "What?", reasoning, "Soup.")])[0]
    assert edited.cues == cues
