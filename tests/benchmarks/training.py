"""Speed of the fine-tuning, and the least number of operations that it needs: how far it is from the machine's limit."""

from __future__ import annotations

import ast
import random
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ragtune_lib.records import Example, TrainConfig, TrainLog
from ragtune_lib.runfile import NOTEBOOKS
from ragtune_lib.stages import code_cells

from .measures import ceiling, journal_documents, peak_mb

WARM_UP = 2  # optimizer steps left out: the first ones allocate


def training(backend: str, count: int = 64) -> dict[str, Any]:
    """Tokens per second of `finetune` on some examples of the sample journal, and how near that is to the ceiling.

    Settings are the defaults of notebook 05, but for the backend and one epoch. The rate leaves out loading and the
    first two steps; the fastest product before or after the training is the ceiling.

    Args:
        backend: "unsloth" or "peft".
        count: examples, drawn by the notebook's seed.

    Returns:
        tokens_per_second, operations (for one token), ceiling (1e9 operations per second in the format of the training),
        attainable (tokens per second at the ceiling), share (of it), padding (of these examples), padding_all (as
        planned for all examples they were drawn from), tokens, steps, peak_mb.
    """
    from ragtune_lib.finetune import finetune, import_backend, padding_share, plan_order
    from ragtune_lib.models import compute_dtype, load_tokenizer
    from ragtune_lib.training_set import tokenize

    import_backend(backend)  # first, as in the notebook
    values = notebook_defaults("05_finetune")
    names = {field.name for field in fields(TrainConfig)} & set(values)
    asked = {name: values[name] for name in names} | {"backend": backend, "epochs": 1.0}
    config = TrainConfig(base_model=values["student"], **asked)
    examples = journal_examples(values["form"], config.base_model)
    chosen = random.Random(config.seed).sample(examples, min(count, len(examples)))

    number_format = str(compute_dtype()).removeprefix("torch.")
    before = ceiling(number_format)
    with tempfile.TemporaryDirectory() as folder:
        log, _ = finetune(chosen, config, Path(folder))
    limit = max(before, ceiling(number_format))

    tokenizer = load_tokenizer(config.base_model)
    lengths = [len(tokenize(example, tokenizer)["input_ids"]) for example in examples]
    planned = plan_order(lengths, config.batch_size, 1.0, config.seed)
    operations, rate = operations_per_token(chosen, config, tokenizer), steady_rate(log)
    return {
        "tokens_per_second": rate,
        "operations": operations,
        "ceiling": limit,
        "attainable": limit * 1e9 / operations,
        "share": rate * operations / (limit * 1e9),
        "padding": log[-1].padding,
        "padding_all": padding_share(lengths, planned, config.batch_size),
        "tokens": log[-1].tokens,
        "steps": log[-1].steps,
        "batch_size": config.batch_size,
        "peak_mb": peak_mb(),
    }


def operations_per_token(examples: Sequence[Example], config: TrainConfig, tokenizer: Any) -> float:
    """`training_operations` of a model and its examples."""
    from transformers import AutoConfig

    from ragtune_lib.finetune import upper_layers
    from ragtune_lib.models import model_path
    from ragtune_lib.training_set import tokenize

    shape = AutoConfig.from_pretrained(model_path(config.base_model))
    layers = shape.num_hidden_layers
    trained = len(upper_layers(layers, config.trained_layers))
    labels = [label for example in examples for label in tokenize(example, tokenizer)["labels"]]
    labelled = sum(label != -100 for label in labels) / len(labels)
    head = shape.vocab_size * shape.hidden_size
    return training_operations(projections(shape), layers, trained, config.rank, head, labelled)


def training_operations(
    projections: Sequence[tuple[int, int]], layers: int, trained: int, rank: int, head: int, labelled: float
) -> float:
    """Operations that LoRA training cannot do without, for one token of the text; padding is not counted.

        forward    2 P L      every weight of every layer multiplies and adds once
        backward   2 P T      the gradient of the inputs, in the trained layers; frozen weights need none of their own
        adapters   6 r S T    2 forward, 2 for the gradient of the inputs, 2 for that of the adapter's weights
        LM head    4 V a      2 forward and 2 backward, only for the tokens that carry a label

    Left out, about 2 % with examples of 60 tokens: attention scores, norms, softmax, optimizer. So the figure is a lower
    bound, and so is the share of the ceiling that comes from it. The counting is that of Kaplan et al. 2020 (arXiv
    2001.08361, section 2.1), where full training needs 2 forward and 4 backward for each weight.

    Args:
        projections: (inputs, outputs) of each linear projection of one layer; P is the sum of the products, S of the sums.
        layers: L.
        trained: T, the upper layers, which carry adapters and gradients.
        rank: r.
        head: V, weights of the LM head, vocabulary x hidden size.
        labelled: a, share of the tokens that carry a label, in [0, 1].

    >>> training_operations([(2, 3)], layers=2, trained=1, rank=1, head=8, labelled=0.5)  # 24 + 12 + 30 + 16
    82.0
    """
    weights = sum(inputs * outputs for inputs, outputs in projections)
    widths = sum(inputs + outputs for inputs, outputs in projections)
    return 2 * weights * (layers + trained) + 6 * rank * widths * trained + 4 * head * labelled


def notebook_defaults(name: str) -> dict[str, Any]:
    """The parameters of a notebook as they stand in its first code cell."""
    lines = ast.parse(code_cells(NOTEBOOKS / f"{name}.ipynb")[0]).body
    return {line.target.id: ast.literal_eval(line.value) for line in lines}  # type: ignore[attr-defined]


def journal_examples(form: str, base_model: str) -> list[Example]:
    """Training examples from the journal's local pairs; the global ones, which need the embedder, are left out."""
    from ragtune_lib.documents import chunk_documents
    from ragtune_lib.graph.build import build_graph
    from ragtune_lib.graph.extract import extract_mentions
    from ragtune_lib.models import load_tokenizer
    from ragtune_lib.synthesize import Settings, document_pairs, local_pairs
    from ragtune_lib.training_set import make_examples
    from ragtune_lib.units import evidence_units

    chunks = chunk_documents(journal_documents(), load_tokenizer(base_model))
    entities, _ = build_graph(extract_mentions(chunks), chunks)
    settings = Settings(corpus="journal")
    units = evidence_units(chunks)
    pairs = local_pairs(units, [""] * len(units), entities, settings) + document_pairs(chunks, settings)
    return make_examples(pairs, form, validation_facts=0)  # type: ignore[arg-type]


def projections(shape: Any) -> list[tuple[int, int]]:
    """(inputs, outputs) of the seven linear projections of one layer of a Llama-like model, from its configuration."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    attention = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    return [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]


def steady_rate(log: Sequence[TrainLog], skip: int = WARM_UP) -> float:
    """Tokens per second after the first `skip` steps."""
    first, last = log[skip - 1], log[-1]
    return (last.tokens - first.tokens) / (last.seconds - first.seconds)
