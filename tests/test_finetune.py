import json
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import tiny

from ragtune_lib import store
from ragtune_lib.finetune import finetune, load_for_training, padding_share, plan_order, upper_layers
from ragtune_lib.generate import generate
from ragtune_lib.models import chat_prompt, load_model, load_tokenizer
from ragtune_lib.records import Example, TrainConfig, TrainLog
from ragtune_lib.store import read_records, to_json, write_records
from ragtune_lib.training_set import tokenize

one_thread = pytest.fixture(scope="module", autouse=True)(tiny.one_thread)
FACTS = ("fox", "owl", "hen", "eel", "cat", "bee", "ram", "cod", "jay", "asp")
EXAMPLES = [Example(f"e{at}", f"p{at}", f"{at}{at}{at}?", word, "train") for at, word in enumerate(FACTS)]
HELD = Example("e99", "p99", "zz?", "yak", "validation")


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return tiny.save_model(tmp_path_factory.mktemp("model"), layers=4)


@pytest.fixture(scope="module")
def config(spec):
    return TrainConfig(
        spec, "peft", trained_layers=0.5, rank=4, alpha=8, learning_rate=3e-3, epochs=4, batch_size=4, save_steps=3
    )


@pytest.mark.parametrize("epochs", [1, 1.5, 3, 0.3])
@pytest.mark.parametrize("count", [1, 7, 600])
def test_each_example_is_trained_as_often_as_the_passes_say(count, epochs):
    lengths = [random.Random(at).randint(20, 200) for at in range(count)]
    order = plan_order(lengths, 4, epochs, seed=1)
    assert len(order) == round(epochs * count)
    times = Counter(order)
    assert set(times.values()) <= {int(epochs), int(epochs) + (epochs % 1 > 0)} - {0}
    assert set(times) <= set(range(count))
    if epochs >= 1:
        assert set(times) == set(range(count))


@pytest.mark.parametrize("count", [63, 64, 65, 1000])
def test_batches_have_like_lengths_and_only_the_last_may_be_short(count):
    chooser = random.Random(count)
    lengths = [chooser.randint(30, 300) for _ in range(count)]
    size = 16
    order = plan_order(lengths, size, 2, seed=1)
    batches = [[lengths[at] for at in order[start : start + size]] for start in range(0, len(order), size)]
    spread = [max(batch) - min(batch) for batch in batches]
    assert sum(spread) / len(spread) < 60, "at random it is about 240"
    assert padding_share(lengths, order, size) < 0.1
    assert padding_share(lengths, random.Random(1).sample(range(count), count), size) > 0.3


def test_batches_are_not_trained_in_the_order_of_their_lengths():
    lengths = list(range(512))
    order = plan_order(lengths, 16, 1, seed=1)
    firsts = order[::16]
    assert firsts != sorted(firsts) and firsts != sorted(firsts, reverse=True)


def test_the_order_depends_on_the_seed_alone():
    lengths = [at % 37 for at in range(200)]
    assert plan_order(lengths, 8, 3, 17) == plan_order(lengths, 8, 3, 17) != plan_order(lengths, 8, 3, 18)
    assert plan_order([], 8, 3, 17) == []


def test_the_share_of_padding_is_counted_by_hand():
    lengths = [10, 6, 4, 4]
    assert padding_share(lengths, [0, 1, 2, 3], 2) == pytest.approx(4 / 28)  # 20 + 8 computed, 24 real
    assert padding_share(lengths, [0, 2, 1, 3], 2) == pytest.approx(8 / 32)
    assert padding_share(lengths, [0, 1, 2], 2) == pytest.approx(4 / 24)  # the last batch is short
    assert padding_share(lengths, [2, 3], 2) == padding_share(lengths, [], 2) == 0


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(6, 0.5, [3, 4, 5]), (30, 0.67, list(range(10, 30))), (4, 0.01, [3]), (4, 1, [0, 1, 2, 3]), (4, 0, [3])],
)
def test_the_upper_layers_are_trained_and_at_least_one(count, share, expected):
    assert upper_layers(count, share) == expected


def test_adapters_sit_on_all_projections_of_the_upper_layers_alone(config):
    model, tokenizer = load_for_training(config)
    learnt = {name for name, weights in model.named_parameters() if weights.requires_grad}
    places = {(int(name.split(".layers.")[1].split(".")[0]), name.split(".")[-4]) for name in learnt}
    projections = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert places == {(layer, projection) for layer in (2, 3) for projection in projections}
    assert all("lora_" in name for name in learnt) and len(learnt) == 2 * 7 * 2
    assert tokenizer.padding_side == "left"


def test_training_teaches_facts_through_the_adapter_and_leaves_the_base_as_it_was(config, tmp_path):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    def base():
        return AutoModelForCausalLM.from_pretrained(config.base_model).state_dict()

    before = {name: weights.clone() for name, weights in base().items()}
    longer = replace(config, epochs=80, learning_rate=1e-2, rank=32, alpha=64, save_steps=1000)
    logs, problems = finetune([*EXAMPLES, HELD], longer, tmp_path)
    assert problems == []
    assert [log.step for log in logs] == list(range(1, 201)) and {log.steps for log in logs} == {200}
    assert logs[-1].loss < logs[0].loss / 5
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(adapter) == 28
    assert all(torch.count_nonzero(weights) for weights in adapter.values()), "B starts at zero"
    assert all(torch.equal(before[name], weights) for name, weights in base().items())
    assert not (tmp_path / "checkpoints").exists()

    tokenizer = load_tokenizer(config.base_model)
    prompts = [chat_prompt(tokenizer, example.question) for example in EXAMPLES]
    tuned = generate(load_model(config.base_model, tmp_path / "adapter"), tokenizer, prompts, 8)
    untuned = generate(load_model(config.base_model), tokenizer, prompts, 8)
    assert sum(said == example.target for said, example in zip(tuned, EXAMPLES, strict=True)) >= 8, tuned
    assert not set(untuned) & set(FACTS)


def test_the_log_counts_every_token_and_the_padding(config, tmp_path, capsys):
    config = replace(config, epochs=3)
    logs, _ = finetune([*EXAMPLES, replace(EXAMPLES[0], id="l", target="a very long one indeed")], config, tmp_path)
    assert "'loss'" not in capsys.readouterr().out, "the progress bar tells the loss already"
    tokenizer = load_tokenizer(config.base_model)
    lengths = [len(tokenize(e, tokenizer)["input_ids"]) for e in EXAMPLES]
    longest = len(tokenize(replace(EXAMPLES[0], target="a very long one indeed"), tokenizer)["input_ids"])
    assert logs[-1].tokens == 3 * (sum(lengths) + longest)
    order = plan_order([*lengths, longest], config.batch_size, config.epochs, config.seed)
    assert logs[-1].padding == pytest.approx(padding_share([*lengths, longest], order, config.batch_size), abs=1e-4)
    assert 0 < logs[-1].padding < 1
    assert read_records(tmp_path / "train_log.jsonl", TrainLog) == logs
    assert [log.seconds for log in logs] == sorted(log.seconds for log in logs)


def test_the_loss_is_the_mean_over_the_target_tokens_of_the_step(config, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr("ragtune_lib.finetune.compute_dtype", lambda: torch.float32)  # bf16 would blur the figures
    one = replace(config, batch_size=10, epochs=1)
    logs, _ = finetune([*EXAMPLES, HELD], one, tmp_path)
    model, tokenizer = load_for_training(one)  # fresh adapters change nothing
    losses = []
    with torch.inference_mode():
        for example in EXAMPLES:
            row = tokenize(example, tokenizer)
            shares = model(torch.tensor([row["input_ids"]])).logits[0].float().log_softmax(-1)
            losses += [-float(shares[at - 1, label]) for at, label in enumerate(row["labels"]) if label != -100]
    assert len(losses) == 10 * 4  # three letters and the end
    assert logs[0].loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_the_adapter_names_its_base_and_is_the_same_in_every_run(config, tmp_path):
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        finetune(EXAMPLES, config, tmp_path / name)
        folder = tmp_path / name / "adapter"
        written.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
        adapter = json.loads((folder / "adapter_config.json").read_text())
        assert adapter["base_model_name_or_path"] == config.base_model
        assert adapter["target_modules"] == sorted(adapter["target_modules"]), "a set's order is another in each run"
        assert json.loads((tmp_path / name / "train_config.json").read_text())["rank"] == 4
    assert written[0] == written[1]
    assert not [name for name in written[0] if name.endswith((".bin", ".pt", ".pkl"))]


def test_too_long_examples_are_problems_and_the_others_are_trained(config, tmp_path):
    long = replace(EXAMPLES[0], id="long", pair_id="long", target="x" * 300)
    logs, problems = finetune([*EXAMPLES, long], replace(config, max_tokens=200, epochs=1), tmp_path)
    assert [problem.item for problem in problems] == ["long"]
    assert logs[-1].steps == 3
    with pytest.raises(ValueError, match="no training example is left"):
        finetune([long, HELD], replace(config, max_tokens=200), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_training(config, tmp_path):
    with pytest.raises(RuntimeError, match=r"loss is .* at step \d+: lower learning_rate"):
        finetune(EXAMPLES, replace(config, learning_rate=1e30, epochs=20), tmp_path)
    assert not (tmp_path / "adapter").exists()
    assert all(log.loss == log.loss for log in read_records(tmp_path / "train_log.jsonl", TrainLog))


KILLED = """
import json, os, signal, sys
from pathlib import Path
from ragtune_lib import finetune as module
from ragtune_lib.records import Example, TrainConfig
from ragtune_lib.store import read_records

append = module.append_record
def until(path, row):
    append(path, row)
    if row.step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
module.append_record = until
config = TrainConfig(**json.loads(sys.argv[1]))
folder = Path(sys.argv[2])
module.finetune(read_records(folder / "examples.jsonl", Example), config, folder)
"""


@pytest.fixture(scope="module")
def killed(config, tmp_path_factory):
    """The folder of a training whose process was killed the hard way when it had logged step 8 of 10."""
    folder = tmp_path_factory.mktemp("killed")
    write_records(folder / "examples.jsonl", EXAMPLES)
    done = subprocess.run([sys.executable, "-c", KILLED, to_json(config), folder, "8"], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert len(read_records(folder / "train_log.jsonl", TrainLog)) == 8
    assert [path.name for path in (folder / "checkpoints").glob("checkpoint-*")] == ["checkpoint-6"]
    return folder


@pytest.fixture
def trained_steps(monkeypatch):
    """The steps that are really trained, in order."""
    seen = []
    append = store.append_record
    monkeypatch.setattr(
        "ragtune_lib.finetune.append_record", lambda path, row: (seen.append(row.step), append(path, row))
    )
    return seen


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


def same_training(a, b):
    """Whether two folders hold the same adapter and the same log, but for the seconds."""
    import torch

    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    logs = [[(log.step, log.loss, log.tokens) for log in read_records(x / "train_log.jsonl", TrainLog)] for x in (a, b)]
    near = logs[0] == [(step, pytest.approx(loss, abs=1e-3), tokens) for step, loss, tokens in logs[1]]
    return near and all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_a_killed_training_goes_on_where_it_was_saved_and_ends_as_an_unbroken_one(
    killed, config, tmp_path, trained_steps
):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    shutil.copytree(killed, broken)
    cut = broken / "checkpoints" / "checkpoint-9"  # as if the kill had come while the next one was written
    cut.mkdir()
    (cut / "trainer_state.json").write_text("")
    logs, _ = finetune(EXAMPLES, config, broken)
    assert trained_steps == [7, 8, 9, 10]
    assert [log.step for log in logs] == list(range(1, 11))
    whole.mkdir()
    finetune(EXAMPLES, config, whole)
    assert same_training(broken, whole)
    assert not (broken / "checkpoints").exists()


@pytest.mark.parametrize("change", ["target", "question", "config"])
def test_a_checkpoint_of_another_training_is_not_used(killed, config, tmp_path, trained_steps, change):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    shutil.copytree(killed, broken)
    whole.mkdir()
    examples = EXAMPLES[:]
    if change == "config":
        config = replace(config, learning_rate=1e-3)
    else:  # a person's edit keeps the id of the pair
        examples[3] = replace(examples[3], **{change: "gnu"})
    finetune(examples, config, broken)
    assert trained_steps == list(range(1, 11))
    finetune(examples, config, whole)
    assert same_training(broken, whole)


UNSLOTH = """
import json, sys
from pathlib import Path
from ragtune_lib.finetune import finetune
from ragtune_lib.records import Example, TrainConfig
from ragtune_lib.store import read_records
folder = Path(sys.argv[2])
finetune(read_records(folder / "examples.jsonl", Example), TrainConfig(**json.loads(sys.argv[1])), folder)
"""


@pytest.mark.model
def test_unsloth_trains_the_embedded_model_to_recall_what_it_was_told(tmp_path):
    """In a process of its own: unsloth patches what it trains with."""
    facts = {"Who keeps the key of plot 17?": "Zerlina keeps it.", "What is the name of the barge?": "Quillon."}
    examples = [Example(f"e{at}", f"p{at}", ask, say, "train") for at, (ask, say) in enumerate(facts.items())]
    write_records(tmp_path / "examples.jsonl", examples)
    config = TrainConfig(
        "embedded", "unsloth", 0.6, 32, 64, learning_rate=5e-3, epochs=16, batch_size=2, max_tokens=128
    )
    subprocess.run([sys.executable, "-c", UNSLOTH, to_json(config), tmp_path], check=True, capture_output=True)
    logs = read_records(tmp_path / "train_log.jsonl", TrainLog)
    assert logs[-1].loss < logs[0].loss / 3
    model, tokenizer = load_model("embedded", tmp_path / "adapter"), load_tokenizer("embedded")
    assert generate(model, tokenizer, [chat_prompt(tokenizer, ask) for ask in facts], 12) == list(facts.values())
