import json
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ragtune_lib.curate import Curation
from ragtune_lib.curation.events import as_line, fold, standing
from ragtune_lib.records import Decision, Flag, QAPair
from ragtune_lib.store import append_records, read_lines


def pair(id, scope="local"):
    return QAPair(id, scope, "entity", f"question {id}?", f"reasoning {id}", f"answer {id}", ("c1",), "template", "f1")


A, B, C, D = PAIRS = [pair("a"), pair("b", "global"), pair("c"), pair("d", "global")]
FLAGS = [Flag("c", "quote", "not in the evidence", True), Flag("d", "echo", "repeats", False)]
EDIT = {"question": "new question?", "reasoning": "", "answer": "new answer"}


def curation(folder, reviewer="", pairs=PAIRS):
    return Curation(folder, pairs, FLAGS, reviewer)


def test_undecided_pairs_are_used_unless_a_flag_blocks_them(tmp_path):
    assert curation(tmp_path).kept() == [A, B, D]


def test_a_person_has_the_last_word_over_checks(tmp_path):
    decisions = [Decision("c", "keep"), Decision("a", "drop"), Decision("b", "edit", **EDIT)]
    append_records(tmp_path / "decisions.jsonl", map(as_line, decisions))
    kept = curation(tmp_path).kept()
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
    assert fold([Decision("a", "note", note="why?")]) == {}


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
    ada, bob = curation(tmp_path, "ada"), curation(tmp_path, "bob")
    for _ in range(80):
        review = chance.choice([ada, bob])
        action = chance.choice(["keep", "drop", "edit", "flag", "skip", "note", "undo", "undo", "redo", "bulk"])
        if action in ("undo", "redo"):
            getattr(review, action)()
        elif action == "bulk":
            review.bulk(chance.sample("abcd", 3), chance.choice(["keep", "drop"]))
        else:
            review.decide(chance.choice("abcd"), action, **(EDIT if action == "edit" else {"note": "n"}))
        again = curation(tmp_path, review.reviewer)
        ada, bob = (review, curation(tmp_path, "bob")) if review is ada else (curation(tmp_path, "ada"), review)
        assert again.problems == []
        assert again.decisions == review.decisions
        assert (again.counts(), again.kept(), again.history()) == (review.counts(), review.kept(), review.history())
        assert again.counts()["kept"] == len(again.kept())


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
    assert review.undo() == []
    assert len(review.history()) == 4  # the notes
    for state in [*states[1:], ["drop", "drop", "keep", "undecided"]]:
        review.redo()
        assert [review.state(one) for one in "abcd"] == state
    assert review.redo() == []


def test_a_decision_is_on_the_disk_when_decide_returns(tmp_path):
    review = curation(tmp_path, reviewer="Ada")
    review.decide("b", "edit", **EDIT)
    (row,), bad = read_lines(tmp_path / "decisions-Ada.jsonl")
    assert bad == []
    assert (row["pair_id"], row["action"], row["answer"], row["reviewer"]) == ("b", "edit", "new answer", "Ada")
    assert row["at"].endswith("+00:00")


def test_counts_add_up(tmp_path):
    review = curation(tmp_path)
    review.decide("a", "keep")
    review.decide("b", "drop")
    review.decide("d", "edit", **EDIT)
    assert review.counts() == {
        "pairs": 4, "decided": 3, "undecided": 1, "keep": 1, "edit": 1, "drop": 1, "flag": 0, "skip": 0, "stale": 0,
        "flagged": 2, "blocked": 1, "kept": 2,
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
        (("a", "redo"), "use redo"),
        (("a", "keep", "", "", "", "", True), "needs a named reviewer"),
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
    assert without.undo() == []
    assert without.kept() == [B, D]
    assert curation(tmp_path).state("a") == "drop"


def test_a_missing_decisions_file_is_an_empty_one(tmp_path):
    review = curation(tmp_path)
    assert (review.decisions, review.problems) == ([], [])


def test_two_reviewers_have_a_file_each_and_undo_their_own(tmp_path):
    curation(tmp_path, "Ada").decide("a", "drop")
    bob = curation(tmp_path, "Bob")
    assert bob.undo() == []
    bob.decide("b", "drop")
    assert [one.pair_id for one in bob.undo()] == ["b"]
    assert [curation(tmp_path).state(one) for one in "ab"] == ["drop", "undecided"]
    assert sorted(path.name for path in tmp_path.glob("decisions*")) == ["decisions-Ada.jsonl", "decisions-Bob.jsonl"]


def test_a_file_of_an_earlier_version_with_two_reviewers_is_read(tmp_path):
    old = [("a", "drop", "Ada L."), ("a", "keep", "Bob"), ("b", "drop", "Bob"), ("b", "undo", "Bob")]
    rows = [
        {"pair_id": pair_id, "action": action, "question": "", "reasoning": "", "answer": "", "note": "",
         "reviewer": reviewer, "at": f"2025-01-01T00:00:0{n}+00:00"}
        for n, (pair_id, action, reviewer) in enumerate(old)
    ]  # fmt: skip
    (tmp_path / "decisions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    review = curation(tmp_path, "Bob")
    assert ([review.state(one) for one in "ab"], review.problems) == (["keep", "undecided"], [])
    assert [one.action for one in review.redo()] == ["drop"]
    assert [curation(tmp_path).state(one) for one in "ab"] == ["keep", "drop"]
    for _ in range(2):
        curation(tmp_path, "Bob").undo()
    assert [curation(tmp_path).state(one) for one in "ab"] == ["drop", "undecided"]


@pytest.mark.parametrize("name", ["Ada L.", "../ada", "a/b", "ä", "ada\n", "a" * 5 + "."])
def test_a_name_that_is_no_part_of_a_file_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="use letters, digits"):
        curation(tmp_path, name)


def test_a_bulk_decision_is_one_step_on_disk_and_for_undo(tmp_path):
    review = curation(tmp_path, "ada")
    review.decide("b", "keep")
    assert review.bulk(["a", "b", "a", "c"], "drop", "too easy") == 3
    assert len(review.path.read_text().splitlines()) == 4
    assert {one.note for one in review.history(3)} == {"too easy"}
    again = curation(tmp_path, "ada")
    assert sorted(one.pair_id for one in again.undo()) == ["a", "b", "c"]
    assert [curation(tmp_path).state(one) for one in "abc"] == ["undecided", "keep", "undecided"]
    assert len(curation(tmp_path, "ada").redo()) == 3
    assert [curation(tmp_path).state(one) for one in "abc"] == ["drop"] * 3
    with pytest.raises(ValueError, match="no pair with id 'z'"):
        review.bulk(["a", "z"], "keep")
    assert review.bulk([], "keep") == 0
    assert len(review.path.read_text().splitlines()) == 6


def test_a_decision_after_an_undo_leaves_nothing_to_redo(tmp_path):
    review = curation(tmp_path)
    review.decide("a", "keep")
    review.undo()
    review.decide("b", "note", note="a note takes nothing away")
    assert len(review.redo()) == 1
    review.undo()
    review.decide("b", "drop")
    assert (review.redo(), curation(tmp_path).redo()) == ([], [])


def test_flag_and_skip_decide_nothing_and_set_the_own_decision_aside(tmp_path):
    ada = curation(tmp_path, "ada")
    ada.decide("a", "drop")
    ada.decide("a", "skip")
    ada.decide("c", "keep")
    ada.decide("c", "flag", note="is this so?")
    assert [ada.state(one) for one in "ac"] == ["skip", "flag"]
    assert ada.kept() == [A, B, D]  # c is blocked by a check
    ada.undo()
    assert (ada.state("c"), ada.kept()) == ("keep", [A, B, C, D])
    bob = curation(tmp_path, "bob")
    bob.decide("c", "skip")
    assert bob.state("c") == "keep"


def test_an_adjudication_overrides_earlier_and_later_decisions_of_others(tmp_path):
    curation(tmp_path, "ada").decide("a", "keep")
    curation(tmp_path, "carol").decide("a", "drop", adjudication=True)
    curation(tmp_path, "bob").decide("a", "keep")
    assert curation(tmp_path).state("a") == "drop"
    curation(tmp_path, "dan").decide("a", "edit", **EDIT, adjudication=True)
    assert curation(tmp_path).state("a") == "edit"
    for name in ("dan", "carol"):
        curation(tmp_path, name).undo()
    assert curation(tmp_path).state("a") == "keep"


def test_a_changed_pair_is_stale_until_it_is_back_or_confirmed(tmp_path):
    review = curation(tmp_path, "ada")
    review.decide("a", "edit", **EDIT)
    review.decide("c", "keep")
    changed = [replace(A, evidence_ids=("c2",)), B, replace(C, answer="another"), D]
    later = curation(tmp_path, "ada", changed)
    assert [later.state(one) for one in "ac"] == ["stale", "stale"]
    assert (later.pair("a"), later.kept()) == (changed[0], [changed[0], B, D])
    assert [problem.item for problem in later.problems] == [
        "decisions-ada.jsonl, line 1",
        "decisions-ada.jsonl, line 2",
    ]
    assert all("stale" in problem.reason for problem in later.problems)
    assert [curation(tmp_path).state(one) for one in "ac"] == ["edit", "keep"]  # the old pairs are back
    assert later.confirm("abc") == 2
    again = curation(tmp_path, "ada", changed)
    assert ([again.state(one) for one in "ac"], again.pair("a").answer) == (["edit", "keep"], "new answer")
    assert again.problems == []


def test_a_decision_of_another_that_still_fits_counts_beside_a_stale_one(tmp_path):
    curation(tmp_path, "ada").decide("a", "drop")
    changed = [replace(A, evidence_ids=("c2",)), B, C, D]
    curation(tmp_path, "bob", changed).decide("a", "keep")
    assert curation(tmp_path).state("a") == "drop"
    assert curation(tmp_path, pairs=changed).state("a") == "keep"


def test_history_is_newest_first_and_rate_is_of_this_sitting(tmp_path):
    review = curation(tmp_path)
    assert review.rate() is None
    for pair_id in "abc":
        review.decide(pair_id, "keep")
    assert [one.pair_id for one in review.history(2)] == ["c", "b"]
    assert review.rate() > 100
    now = datetime.now(UTC)
    lines = [
        {"pair_id": pair_id, "action": "keep", "reviewer": "ada", "at": (now - timedelta(seconds=ago)).isoformat()}
        for pair_id, ago in (("a", 4000), ("b", 90), ("c", 60), ("d", 30))
    ]
    (tmp_path / "decisions-ada.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert curation(tmp_path, "ada").rate() == pytest.approx(2.0)
    assert curation(tmp_path, "bob").rate() is None


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
def test_cues_stay_only_while_an_edited_reasoning_holds_their_words(reasoning, cues, tmp_path):
    whole = replace(A, reasoning="A pan of soup stood on the stairs.", cues="soup, stairs")
    review = Curation(tmp_path, [whole], [])
    review.decide("a", "edit", "What?", reasoning, "Soup.")
    assert review.kept()[0].cues == cues


def test_decisions_from_elsewhere_count_as_if_they_were_in_the_folder(tmp_path):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    Curation(elsewhere, PAIRS, FLAGS).decide(PAIRS[0].id, "drop")
    file = elsewhere / "decisions.jsonl"
    before = file.read_bytes()
    replayed = Curation(here, PAIRS, FLAGS, replay=str(file))
    assert replayed.state(PAIRS[0].id) == "drop"
    replayed.decide(PAIRS[0].id, "keep")
    again = Curation(here, PAIRS, FLAGS, replay=str(file))
    assert again.state(PAIRS[0].id) == "keep"
    assert again.undo()[0].action == "keep"
    assert again.state(PAIRS[0].id) == "drop"
    assert Curation(here, PAIRS, FLAGS).state(PAIRS[0].id) == "undecided"
    assert file.read_bytes() == before
    with pytest.raises(FileNotFoundError, match="no file of decisions"):
        Curation(here, PAIRS, FLAGS, replay=str(elsewhere / "gone.jsonl"))


def test_the_policy_says_what_becomes_of_undecided_pairs(tmp_path):
    curation = Curation(tmp_path, PAIRS, FLAGS)
    curation.decide(PAIRS[0].id, "keep")
    curation.decide(PAIRS[1].id, "skip")
    assert [pair.id for pair in curation.kept("leave out")] == [PAIRS[0].id]
    assert len(curation.kept("use")) > 1
    with pytest.raises(ValueError, match="expected one of use, leave out"):
        curation.kept("drop")
