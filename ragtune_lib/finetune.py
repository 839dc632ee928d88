"""LoRA fine-tuning of a small language model behind one `TrainConfig`, the same on a CPU and on one GPU.

Unsloth's `FastLanguageModel` with TRL's `SFTTrainer` is the default; `backend="peft"` is plain transformers, PEFT and
TRL. A killed run continues from its last checkpoint with the same data in the same order.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ragtune_lib.attention import attention
from ragtune_lib.models import compute_dtype, load_tokenizer, model_path, progress
from ragtune_lib.records import Example, Problem, TrainConfig, TrainLog
from ragtune_lib.store import append_record, content_id, write_json, write_records
from ragtune_lib.training_set import within_limit

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GROUP = 32  # batches sorted by length together: enough to save the padding, few enough to stay well mixed


def plan_order(lengths: Sequence[int], batch_size: int, epochs: float, seed: int) -> list[int]:
    """Order in which examples are trained, so that every `batch_size` in a row have like lengths.

    The run is one sequence of `epochs` shuffled passes. It is cut into groups of `GROUP` batches; inside a group
    examples are sorted by length and whole batches are shuffled.

    Args:
        lengths: tokens per example.
        batch_size: examples per optimizer step.
        epochs: passes over the data; a fraction takes part of the last pass.
        seed: for both shuffles.

    Returns:
        Positions, `round(epochs * len(lengths))` of them; each occurs floor(epochs) or ceil(epochs) times.
    """
    chooser = random.Random(seed)
    total = round(epochs * len(lengths))
    order: list[int] = []
    while len(order) < total:
        turn = list(range(len(lengths)))
        chooser.shuffle(turn)
        order += turn[: total - len(order)]
    planned: list[int] = []
    for start in range(0, total, GROUP * batch_size):
        group = sorted(order[start : start + GROUP * batch_size], key=lambda at: (-lengths[at], at))
        batches = [group[at : at + batch_size] for at in range(0, len(group), batch_size)]
        tail = [batches.pop()] if len(batches[-1]) < batch_size else []  # a short batch may only stand at the end
        chooser.shuffle(batches)
        planned += [at for batch in batches + tail for at in batch]
    return planned


def padding_share(lengths: Sequence[int], order: Sequence[int], batch_size: int) -> float:
    """Share of computed tokens that are padding, when `order` is cut into batches padded to their longest."""
    batches = [[lengths[at] for at in order[start : start + batch_size]] for start in range(0, len(order), batch_size)]
    computed = sum(max(batch) * len(batch) for batch in batches)
    return 1 - sum(map(sum, batches)) / computed if computed else 0.0


def load_for_training(config: TrainConfig) -> tuple[Any, Any]:
    """Load the base model with fresh adapters on the upper layers.

    Returns:
        Model and tokenizer. Adapters sit on all linear projections of the upper `config.trained_layers` share of
        the layers; the gradient stops below them.

    Raises:
        RuntimeError: if the backend cannot be loaded; says why and names the way out.
    """
    return _load_unsloth(config) if config.backend == "unsloth" else _load_peft(config)


def import_backend(backend: str) -> Any:
    """Import the training backend; a notebook that trains does so before anything that imports transformers.

    Unsloth patches transformers, TRL and PEFT while it is imported, and does so wholly only when it comes first.

    Raises:
        RuntimeError: if Unsloth cannot be loaded; says why and names the way out.
    """
    if backend != "unsloth":
        return None
    try:
        import unsloth  # 2026.10.9 or later also runs on a CPU
    except (ImportError, NotImplementedError) as error:
        raise RuntimeError(f'backend="unsloth" cannot be loaded: {error}; install it or use backend="peft"') from error
    return unsloth


def _load_unsloth(config: TrainConfig) -> tuple[Any, Any]:
    unsloth = import_backend(config.backend)
    import torch

    on_gpu = torch.cuda.is_available()
    model, _ = unsloth.FastLanguageModel.from_pretrained(
        model_path(config.base_model),
        max_seq_length=config.max_tokens,
        dtype=compute_dtype(),
        load_in_4bit=config.load_in_4bit,
        trust_remote_code=False,
        use_gradient_checkpointing="unsloth" if on_gpu else False,
        **({} if on_gpu else {"attn_implementation": attention()}),  # on a GPU Unsloth has its own
    )
    model = unsloth.FastLanguageModel.get_peft_model(
        model,
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=0.0,
        target_modules=PROJECTIONS,
        layers_to_transform=upper_layers(model.config.num_hidden_layers, config.trained_layers),
        use_gradient_checkpointing="unsloth" if on_gpu else False,
        random_state=config.seed,
    )
    return model, load_tokenizer(config.base_model)


def _load_peft(config: TrainConfig) -> tuple[Any, Any]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    torch.manual_seed(config.seed)
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=compute_dtype())
    model = AutoModelForCausalLM.from_pretrained(
        model_path(config.base_model),
        dtype=compute_dtype(),
        use_safetensors=True,
        trust_remote_code=False,
        attn_implementation=None if torch.cuda.is_available() else attention(),  # a GPU has faster ones
        quantization_config=quantized if config.load_in_4bit else None,
    )
    layers = upper_layers(model.config.num_hidden_layers, config.trained_layers)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=PROJECTIONS,
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora), load_tokenizer(config.base_model)


def upper_layers(count: int, share: float) -> list[int]:
    """Numbers of the upper layers: at least one of `count`.

    >>> upper_layers(6, 0.5)
    [3, 4, 5]
    """
    return list(range(count - max(1, round(count * share)), count))


def finetune(examples: Sequence[Example], config: TrainConfig, folder: Path) -> tuple[list[TrainLog], list[Problem]]:
    """Fine-tune on the training split and save the adapter.

    Writes below `folder`: `train_config.json`, `train_log.jsonl` (while it runs), `adapter/` (at the end), and
    `checkpoints/`, removed at the end. If a checkpoint of the same examples and configuration is there, training
    continues from it.

    Args:
        examples: of both splits; only "train" is learnt.
        config: every number of the training.
        folder: the run folder.

    Returns:
        The log, and a Problem for each example that was too long.

    Raises:
        ValueError: if no example is left to train on.
        RuntimeError: if the loss is not finite; the last checkpoint is kept.
    """
    model, tokenizer = load_for_training(config)
    train = [example for example in examples if example.split == "train"]
    _, rows, problems = within_limit(train, tokenizer, config.max_tokens)
    if not rows:
        raise ValueError("no training example is left: check kept.jsonl and max_tokens")
    lengths = [len(row["input_ids"]) for row in rows]
    order = plan_order(lengths, config.batch_size, config.epochs, config.seed)
    write_json(folder / "train_config.json", config)
    checkpoints = folder / "checkpoints"
    key = content_id(config, train)
    resume = _prepare_checkpoints(checkpoints, key)
    tracker = _Tracker([lengths[at] for at in order], config.batch_size, folder / "train_log.jsonl", resume)
    trainer = _trainer(model, tokenizer, [rows[at] for at in order], config, checkpoints, tracker)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    tracker.bar.close()
    write_records(tracker.path, tracker.logs)
    save_adapter(model, folder / "adapter", config.base_model)
    shutil.rmtree(checkpoints)
    return tracker.logs, problems


def _trainer(
    model: Any, tokenizer: Any, rows: list[dict], config: TrainConfig, checkpoints: Path, tracker: _Tracker
) -> Any:
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    kernels = config.backend == "unsloth" or torch.cuda.is_available()
    arguments = SFTConfig(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.batch_size,
        num_train_epochs=1,  # the plan holds all passes
        train_sampling_strategy="sequential",
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup,  # below 1 it is a share of all steps
        weight_decay=0.0,
        max_grad_norm=1.0,
        max_length=None,  # too long examples were refused already, nothing is cut
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=False,
        logging_steps=1,
        save_steps=config.save_steps,
        save_total_limit=1,
        logging_nan_inf_filter=False,  # else a loss that is not finite is logged as 0
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
        bf16=compute_dtype() == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),  # else bf16 is refused on a CPU that has it
    )
    trainer = (SFTTrainer if kernels else _with_plain_loss(SFTTrainer))(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[tracker.callback()],
    )
    trainer.remove_callback(PrinterCallback)  # one line per step beside our progress bar
    return trainer


def _with_plain_loss(trainer: type) -> type:
    """The trainer with the model's own loss: TRL 1.15 computes it by a Triton kernel, and no CPU runs those."""
    from transformers import Trainer

    return type("PlainLossTrainer", (trainer,), {"compute_loss": Trainer.compute_loss})


def _prepare_checkpoints(folder: Path, key: str) -> Path | None:
    """Last complete checkpoint of this very training, or None after clearing away what belongs to another."""
    mark = folder / "key.json"
    if not mark.exists() or json.loads(mark.read_text()).get("key") != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(mark, {"key": key})
    saved = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[-1]), reverse=True)
    for found in saved:
        if _is_complete(found):
            return found
        shutil.rmtree(found)
    return None


def _is_complete(checkpoint: Path) -> bool:
    """Whether the file that is written last is there and whole; if not, the save was cut off."""
    try:
        return json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] > 0
    except (FileNotFoundError, ValueError):
        return False


def save_adapter(model: Any, folder: Path, base_model: str) -> None:
    """Save the adapter as safetensors; its config names the base model by its spec, not by a path of this machine."""
    work = folder.with_name(".adapter")
    shutil.rmtree(work, ignore_errors=True)
    model.save_pretrained(work)
    config = json.loads((work / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base_model
    for name in [name for name, value in config.items() if isinstance(value, list)]:
        config[name] = sorted(config[name])  # peft keeps a set: its order changes from run to run
    write_json(work / "adapter_config.json", config)
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)


class _Tracker:
    """Counts tokens, writes the log and moves the progress bar, step by step."""

    def __init__(self, lengths: Sequence[int], batch_size: int, path: Path, resume: Path | None):
        self.batches = [lengths[at : at + batch_size] for at in range(0, len(lengths), batch_size)]
        self.path = path
        done = json.loads((resume / "trainer_state.json").read_text())["global_step"] if resume else 0
        self.logs = _read_log(path)[:done] if resume else []
        write_records(path, self.logs)
        self.before = self.logs[-1].seconds if self.logs else 0.0
        self.started = time.perf_counter()
        self.bar = progress(len(self.batches), "fine-tune", "step")
        self.bar.update(done)

    def step(self, number: int, loss: float) -> None:
        """Record one optimizer step (counted from 1)."""
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise RuntimeError(f"loss is {loss} at step {number}: lower learning_rate; the last checkpoint is kept")
        seen = self.batches[:number]
        tokens = sum(map(sum, seen))
        computed = sum(max(batch) * len(batch) for batch in seen)
        seconds = self.before + time.perf_counter() - self.started
        row = TrainLog(
            number, len(self.batches), round(loss, 5), tokens, round(1 - tokens / computed, 4), round(seconds, 2)
        )
        self.logs.append(row)
        append_record(self.path, row)
        self.bar.set_postfix_str(f"loss {loss:.3f}, {tokens / max(seconds, 1e-9):.0f} tokens/s", refresh=False)
        self.bar.update(1)

    def callback(self) -> Any:
        """The trainer's view of this tracker."""
        from transformers import TrainerCallback

        step: Callable[[int, float], None] = self.step

        class Report(TrainerCallback):
            def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **rest: Any) -> None:
                if logs and "loss" in logs:
                    step(state.global_step, float(logs["loss"]))

        return Report()


def _read_log(path: Path) -> list[TrainLog]:
    from ragtune_lib.store import read_lines, to_record

    return [to_record(TrainLog, value) for value in read_lines(path)[0]]
