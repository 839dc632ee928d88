"""What can go wrong before anything is served: `tests/browser/test_curate_page.py` has the real server."""

import shutil

import pytest
import tiny

from ragtune_lib import curate_app
from ragtune_lib.records import Decision, Flag, QAPair
from ragtune_lib.report import main
from ragtune_lib.store import read_records, write_records

PAIR = QAPair("p1", "local", "entity", "Who sold jam?", "Ilse Brandt sold jam.", "Ilse Brandt", ("c0",), "t", "f1")


@pytest.fixture
def folder(outputs):
    run = outputs / "small"
    run.mkdir()
    for name, records in (("entities", tiny.ENTITIES), ("relationships", tiny.RELATIONSHIPS), ("questions", [])):
        write_records(run / f"{name}.jsonl", records)
    write_records(run / "chunks.jsonl", tiny.CHUNKS)
    write_records(run / "pairs.jsonl", [PAIR])
    write_records(run / "flags.jsonl", [Flag("p1", "quote", "not found", True)])
    return run


@pytest.mark.parametrize(
    ("missing", "told"),
    [("", "there is no run 'small'"), ("chunks.jsonl", "01_documents"), ("pairs.jsonl", "no pairs yet: run notebook 03"),
     ("flags.jsonl", "04_curate")],
)  # fmt: skip
def test_a_run_that_cannot_be_curated_is_refused_with_the_stage_to_run(folder, missing, told, capfd):
    if missing:
        (folder / missing).unlink()
    else:
        shutil.rmtree(folder)
    assert main(["curate", "small"]) == 2
    assert told in capfd.readouterr().err


def test_the_runs_that_there_are_are_named(folder, capfd):
    assert main(["curate", "smal"]) == 2
    assert "there are: small" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a b", "a;b", "ada\n", "$(id)", "é"])
def test_a_reviewer_is_letters_digits_underscore_and_dash(folder, name, capfd):
    assert main(["curate", "small", "--reviewer", name]) == 2
    assert "reviewer" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["../small", "small/..", "a b", "x'); import os; ("])
def test_a_run_is_a_plain_name(folder, name, capfd):
    assert main(["curate", name]) == 2
    assert "run name" in capfd.readouterr().err


def test_the_page_shows_the_panel_of_the_run_that_the_environment_names(folder, monkeypatch):
    monkeypatch.setenv(curate_app.RUN, "small")
    monkeypatch.setenv(curate_app.REVIEWER, "ada")
    panel = curate_app.shown_panel()
    assert "Ilse Brandt" in panel.source.value and "<svg" in panel.source.value, "the source and the neighbourhood"
    panel.buttons["keep"].click()
    (decision,) = read_records(folder / "decisions-ada.jsonl", Decision)
    assert (decision.pair_id, decision.action, decision.reviewer) == ("p1", "keep", "ada")
