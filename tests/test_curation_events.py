import json
import random
import signal
import subprocess
import sys
from dataclasses import replace

from ragtune_lib.curate import Curation
from ragtune_lib.curation.events import Fold, pair_hash, read_folder
from ragtune_lib.records import Decision, QAPair
from ragtune_lib.stages import STAGES, hashes

PAIRS = [
    QAPair(f"p{n}", "local", "entity", f"question {n}?", "r", "a", ("c1",), "template", "f") for n in range(40)
]  # fmt: skip
IDS = {pair.id for pair in PAIRS}


def write(path, *events):
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def event(pair_id, action, at, **more):
    return {"pair_id": pair_id, "action": action, "at": f"2026-01-01T00:00:{at:02}+00:00", **more}


def test_between_people_the_last_in_time_counts_whichever_file_it_is_in(tmp_path):
    write(
        tmp_path / "decisions-ada.jsonl", event("p1", "keep", 5, reviewer="ada"), event("p2", "drop", 6, reviewer="ada")
    )
    write(
        tmp_path / "decisions-bob.jsonl", event("p1", "drop", 4, reviewer="bob"), event("p2", "keep", 7, reviewer="bob")
    )
    review = Curation(tmp_path, PAIRS, [])
    assert [review.state(one) for one in ("p1", "p2")] == ["keep", "keep"]


def test_a_clock_set_back_changes_no_order_within_a_file(tmp_path):
    write(
        tmp_path / "decisions-ada.jsonl",
        event("p1", "keep", 50, reviewer="ada"),
        event("p1", "drop", 3, reviewer="ada"),
    )
    assert Curation(tmp_path, PAIRS, []).state("p1") == "drop"


def test_equal_times_are_ordered_by_file_then_line(tmp_path):
    write(
        tmp_path / "decisions-bob.jsonl", event("p1", "drop", 1, reviewer="bob"), event("p2", "drop", 1, reviewer="bob")
    )
    write(tmp_path / "decisions-ada.jsonl", event("p1", "keep", 1, reviewer="ada"))
    entries, problems = read_folder(tmp_path, IDS)
    assert [(entry[1], entry[2]) for entry in entries] == [
        ("decisions-ada.jsonl", 1), ("decisions-bob.jsonl", 1), ("decisions-bob.jsonl", 2),
    ]  # fmt: skip
    assert problems == []


def test_a_fold_does_not_depend_on_the_order_in_which_the_files_of_two_people_arrive():
    chance = random.Random(3)
    files = {
        name: [
            (f"{chance.randrange(9)}", name, line, Decision(chance.choice(["p1", "p2"]), chance.choice(["keep", "drop"]), reviewer=name))
            for line in range(20)
        ]
        for name in ("ada", "bob")
    }  # fmt: skip
    for name in files:
        latest = ""
        for place, entry in enumerate(files[name]):
            latest = max(latest, entry[0])
            files[name][place] = (latest, *entry[1:])
    folds = []
    for names in (("ada", "bob"), ("bob", "ada")):
        folded = Fold()
        for name in names:
            for entry in files[name]:
                folded.add(entry)
        folds.append(folded)
    merged = Fold()
    for entry in sorted(files["ada"] + files["bob"], key=lambda one: one[:3]):
        merged.add(entry)
    for folded in folds:
        assert folded.entries == merged.entries
        assert [folded.word(one) for one in ("p1", "p2")] == [merged.word(one) for one in ("p1", "p2")]


def test_nobody_takes_back_the_step_of_another(tmp_path):
    ada = Curation(tmp_path, PAIRS, [], "ada")
    step = ada.decide("p1", "drop").step
    write(tmp_path / "decisions-bob.jsonl", event("p1", "undo", 1, reviewer="bob", step=step))
    assert Curation(tmp_path, PAIRS, []).state("p1") == "drop"


def test_a_copied_file_changes_nothing(tmp_path):
    ada = Curation(tmp_path, PAIRS, [], "ada")
    ada.bulk(["p1", "p2"], "drop")
    ada.decide("p3", "keep")
    ada.undo()
    before = [ada.state(one) for one in ("p1", "p2", "p3")]
    (tmp_path / "decisions-copy.jsonl").write_bytes(ada.path.read_bytes())
    assert [Curation(tmp_path, PAIRS, []).state(one) for one in ("p1", "p2", "p3")] == before


def test_a_file_with_a_name_that_is_not_ours_is_a_problem_and_not_read(tmp_path):
    write(tmp_path / "decisions-ada (1).jsonl", event("p1", "drop", 1, reviewer="ada"))
    review = Curation(tmp_path, PAIRS, [])
    assert (review.state("p1"), [one.item for one in review.problems]) == ("undecided", ["decisions-ada (1).jsonl"])
    assert "rename it" in review.problems[0].reason


def test_the_hash_of_a_pair_sees_wording_and_evidence_and_nothing_else():
    one = PAIRS[0]
    for name, value in (("question", "x"), ("reasoning", "x"), ("answer", "x"), ("evidence_ids", ("c1", "c2"))):
        assert pair_hash(replace(one, **{name: value})) != pair_hash(one), name
    assert pair_hash(replace(one, writer="w", fact_id="g", cues="c", kind="k")) == pair_hash(one)
    assert pair_hash(replace(one, question="\ud800")) != pair_hash(one)


def test_a_decision_of_any_person_makes_the_stage_due(tmp_path):
    (reads,) = (stage.reads for stage in STAGES if stage.name == "04_curate")
    found = [hashes(tmp_path, reads)]
    for name in ("", "ada", "bob"):
        Curation(tmp_path, PAIRS, [], name).decide("p1", "drop")
        found.append(hashes(tmp_path, reads))
    Curation(tmp_path, PAIRS, [], "ada").decide("p2", "drop")
    found.append(hashes(tmp_path, reads))
    assert len({json.dumps(one) for one in found}) == 5


DECIDE = """
import sys
from pathlib import Path
from ragtune_lib.curate import Curation
from ragtune_lib.records import QAPair
pairs = [QAPair(f"p{n}", "local", "entity", f"question {n}?", "r", "a", ("c1",), "template", "f") for n in range(40)]
review = Curation(Path(sys.argv[1]), pairs, [], "ada")
for number in range(1000):
    event = review.decide(f"p{number % 40}", ("keep", "drop", "skip")[number % 3], note=f"decision {number}")
    print(number, event.pair_id, event.action, flush=True)
"""


def test_a_process_killed_among_a_thousand_decisions_loses_none_that_it_acknowledged(tmp_path):
    with subprocess.Popen([sys.executable, "-c", DECIDE, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        told = [process.stdout.readline().split() for _ in range(400)]
        process.send_signal(signal.SIGKILL)
        told += [line.split() for line in process.stdout.read().splitlines()]
    assert process.returncode == -signal.SIGKILL
    assert 400 <= len(told) < 1000
    review = Curation(tmp_path, PAIRS, [], "ada")
    assert [one.note for one in review.decisions][: len(told)] == [f"decision {number}" for number in range(len(told))]
    assert len(review.decisions) <= len(told) + 1  # one may be on the disk and not yet told
    last = {one.pair_id: one.action for one in review.decisions}
    assert {pair_id: review.state(pair_id) for pair_id in last} == last
    assert review.problems == []


def test_a_torn_last_line_is_reported_and_the_next_append_does_not_damage_it(tmp_path):
    review = Curation(tmp_path, PAIRS, [], "ada")
    review.decide("p1", "drop")
    review.decide("p2", "drop")
    whole = review.path.read_bytes()
    for cut in range(1, len(whole.splitlines()[1]), 7):
        review.path.write_bytes(whole[: len(whole) - 1 - cut])
        torn = Curation(tmp_path, PAIRS, [], "ada")
        assert [one.item for one in torn.problems] == ["decisions-ada.jsonl, line 2"]
        torn.decide("p3", "keep")
        assert review.path.read_bytes().startswith(whole[: len(whole) - 1 - cut] + b"\n")
        again = Curation(tmp_path, PAIRS, [], "ada")
        assert [again.state(one) for one in ("p1", "p2", "p3")] == ["drop", "undecided", "keep"]
        assert len(again.problems) == 1
