import math
import random

import pytest
import tiny

from ragtune_lib.models import load_model, load_tokenizer
from ragtune_lib.records import QAPair
from ragtune_lib.teacher import selection
from ragtune_lib.teacher.selection import select_pairs, student_loss
from ragtune_lib.training_set import make_examples, tokenize

one_thread = pytest.fixture(scope="module", autouse=True)(tiny.one_thread)


def pair(name, kind="entity_cot"):
    return QAPair(name, "global", kind, f"{name}?", "", name, ("c",), "t", name)


LOSS = {"a": 0.1, "b": 2.0, "c": 0.5, "d": 2.0, "e": 3.5}
PAIRS = [pair(name) for name in LOSS]


def loss(pairs):
    return [LOSS.get(one.id, math.nan) for one in pairs]


def ids(selection):
    return [one.id for one in selection.kept], [one.pair_id for one in selection.left_out]


def test_without_a_limit_all_are_kept_the_least_known_first():
    assert ids(select_pairs(PAIRS, loss)) == (["e", "b", "d", "c", "a"], [])


def test_what_is_known_is_left_out_with_its_loss_and_the_reason():
    selection = select_pairs(PAIRS, loss, known_below=0.5)
    assert ids(selection) == (["e", "b", "d", "c"], ["a"])
    assert selection.left_out[0].loss == 0.1 and "below 0.5" in selection.left_out[0].reason


@pytest.mark.parametrize(("share", "kept"), [(0.1, ""), (0.2, "e"), (0.59, "eb"), (0.6, "ebd"), (1.0, "ebdca")])
def test_a_share_keeps_the_least_known(share, kept):
    selection = select_pairs(PAIRS, loss, share=share)
    assert "".join(ids(selection)[0]) == kept
    assert all("least known" in one.reason for one in selection.left_out)


def test_both_limits_hold():
    assert ids(select_pairs(PAIRS, loss, known_below=1, share=0.4)) == (["e", "b"], ["d", "c", "a"])


def test_abstentions_and_what_could_not_be_measured_are_kept_and_count():
    pairs = [*PAIRS, pair("x"), pair("a2", "absent")]
    losses = {**LOSS, "a2": 0.0}
    selection = select_pairs(pairs, lambda some: [losses.get(one.id, math.inf) for one in some], known_below=9, share=0.5)  # fmt: skip
    assert set(ids(selection)[0]) == {"x", "a2"} and selection.unmeasured == 1
    assert math.isnan(selection.losses["x"])
    assert str(selection) == "2 kept (1 not measured), 5 left out"
    room = select_pairs(pairs, lambda some: [losses.get(one.id, math.inf) for one in some], share=3 / 7)
    assert set(ids(room)[0]) == {"x", "a2", "e"}


@pytest.mark.parametrize("seed", range(20))
def test_pairs_in_are_kept_or_left_out_whatever_their_order(seed):
    chooser = random.Random(seed)
    values = {f"p{at}": chooser.choice([0.0, 0.5, 1.0, math.nan, 2.0]) for at in range(chooser.randrange(30))}
    pairs = [pair(name, chooser.choice(["entity_cot", "absent"])) for name in values]
    options = {"known_below": chooser.choice([0, 0.7]), "share": chooser.random()}
    selection = select_pairs(pairs, lambda some: [values[one.id] for one in some], **options)
    kept, left_out = ids(selection)
    assert sorted(kept + left_out) == sorted(values)
    chooser.shuffle(pairs)
    again = select_pairs(pairs, lambda some: [values[one.id] for one in some], **options)
    assert ids(again) == (kept, left_out)
    worst = max((one.loss for one in selection.left_out if "least known" in one.reason), default=-1)
    safe = {one.id for one in pairs if one.kind == "absent" or math.isnan(values[one.id])}
    assert all(values[name] >= worst for name in kept if name not in safe)


def test_nothing_gives_nothing_and_asks_nobody():
    assert ids(select_pairs([], lambda pairs: 1 / 0)) == ([], [])


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="share"):
        select_pairs(PAIRS, loss, share=1.1)
    with pytest.raises(ValueError, match="4 losses for 5 pairs"):
        select_pairs(PAIRS, lambda pairs: loss(pairs)[1:])
    with pytest.raises(ValueError, match="twice"):
        select_pairs([*PAIRS, PAIRS[0]], loss)


@pytest.mark.parametrize("form", ["evidence", "think"])
def test_the_loss_of_a_pair_is_the_one_that_its_training_would_begin_with(tmp_path, monkeypatch, form):
    import torch

    spec = tiny.save_model(tmp_path)
    pairs = [
        QAPair(
            f"p{at}", "local", "entity", "Who sold it?" * (at + 1), "Ilse sold jam. " * at, "Ilse.", ("c",), "t", "f"
        )
        for at in range(5)
    ]
    monkeypatch.setattr(selection, "TOGETHER", 2)
    found = student_loss(spec, form, pairs)
    model, tokenizer = load_model(spec).float(), load_tokenizer(spec)
    for value, example in zip(found, make_examples(pairs, form, 0), strict=True):
        row = {name: torch.tensor([ids]) for name, ids in tokenize(example, tokenizer).items()}
        with torch.inference_mode():
            assert value == pytest.approx(model(**row).loss.item(), rel=0.02)  # bf16 where the machine has it


def test_nothing_to_measure_has_no_losses(tmp_path):
    assert student_loss(tiny.save_model(tmp_path), "answer", []) == []


def test_no_student_is_loaded_for_a_share_that_is_none(monkeypatch):
    monkeypatch.setattr(selection, "load_model", lambda spec: pytest.fail("loaded"))
    with pytest.raises(ValueError, match="share"):
        select_pairs(PAIRS, lambda pairs: student_loss("embedded", "answer", pairs), share=1.5)
