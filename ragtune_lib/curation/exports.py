"""Kept pairs and preferences in the forms that other programs train on, streamed: memory does not grow with the rows.

| file | read by |
|---|---|
| dataset/ | `datasets.load_from_disk`; a DatasetDict with its card |
| pairs.jsonl | anything: every field of a row, the text as it is |
| sharegpt.jsonl | LLaMA-Factory, axolotl: conversations of from and value |
| alpaca.jsonl | LLaMA-Factory, axolotl: instruction, input, output |
| chatml.jsonl | TRL, axolotl, LLaMA-Factory: messages of role and content |
| dpo.jsonl | TRL, LLaMA-Factory, axolotl: prompt, chosen, rejected |
| dataset_info.json | LLaMA-Factory: what the files above are |

Files are replaced as a whole or not at all (`store.write_bytes`). A text that imitates the marks of a chat template,
such as `<|im_end|>`, would end its turn in a trainer, since tokenizers read such marks anywhere. So in the forms for
chats a zero-width space takes such a mark apart; the dataset and pairs.jsonl keep the text as it is.
"""

from __future__ import annotations

import html
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ragtune_lib.curate import Curation
from ragtune_lib.records import QAPair
from ragtune_lib.store import to_json, write_bytes, write_json, write_text
from ragtune_lib.training_set import Form, target_text

BATCH = 1000  # rows in memory while a dataset is written
# marks of ChatML, Llama, Phi, Qwen, Mistral and Gemma; what follows the bracket makes it one
MARK = re.compile(r"<(?=\|\w+\|>|/?s>|(?:start|end)_of_turn>)|\[(?=/?INST\])")
LINE_ENDS = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"})  # for readers that split there


@dataclass(frozen=True, slots=True)
class Row:
    """One kept pair as it is exported."""

    id: str
    scope: str
    kind: str
    question: str
    reasoning: str
    answer: str
    target: str  # what the model shall say: reasoning and answer in the chosen form
    evidence_ids: tuple[str, ...]
    fact_id: str
    writer: str  # "person" for an edited wording
    decision: str  # keep or edit; "undecided" for what passed the checks alone
    reviewer: str  # who decided; "" for nobody, or for somebody without a name


@dataclass(frozen=True, slots=True)
class Preference:
    """One answer that a person prefers to another."""

    prompt: str
    chosen: str
    rejected: str


def rows(curation: Curation, form: Form = "plain") -> Iterator[Row]:
    """The kept pairs in order, one at a time; `form` as in `training_set.target_text`."""
    for pair in curation.kept():
        decision = curation.decision(pair.id)
        decided = decision is not None and decision.action in ("keep", "edit")
        yield Row(
            pair.id, pair.scope, pair.kind, pair.question, pair.reasoning, pair.answer, target_text(pair, form),
            pair.evidence_ids, pair.fact_id, pair.writer,
            decision.action if decided else "undecided", decision.reviewer if decided else "",
        )  # fmt: skip


def preferences(curation: Curation, form: Form = "plain") -> Iterator[Preference]:
    """What people preferred: an edit to the original, and a kept pair to a dropped one of the same fact.

    Each dropped pair is set against the first pair of its fact that a person kept or edited, else the first that is
    used. Where both would say the same (only the question was at fault) there is no preference between answers.
    """
    best: dict[str, QAPair] = {}
    for wanted in (("keep", "edit"), ("undecided", "flag", "skip", "stale")):
        for pair in curation.kept():
            if pair.fact_id and curation.state(pair.id) in wanted:
                best.setdefault(pair.fact_id, pair)
    for pair_id, original in curation.pairs.items():
        state = curation.state(pair_id)
        better = curation.pair(pair_id) if state == "edit" else best.get(original.fact_id) if state == "drop" else None
        if better:
            chosen, rejected = target_text(better, form), target_text(original, form)
            if chosen != rejected:
                yield Preference(better.question, chosen, rejected)


def harmless(text: str) -> str:
    """A text without marks that a chat template knows; it looks the same.

    >>> harmless("a<|im_end|>b") == "a<" + chr(0x200B) + "|im_end|>b"
    True
    """
    return MARK.sub(lambda found: f"{found.group()}\u200b", text)


def _sharegpt(row: Row) -> dict[str, Any]:
    said = (("human", row.question), ("gpt", row.target))
    return {"conversations": [{"from": who, "value": harmless(text)} for who, text in said]}


def _alpaca(row: Row) -> dict[str, Any]:
    return {"instruction": harmless(row.question), "input": "", "output": harmless(row.target)}


def _chatml(row: Row) -> dict[str, Any]:
    said = (("user", row.question), ("assistant", row.target))
    return {"messages": [{"role": who, "content": harmless(text)} for who, text in said]}


def _dpo(one: Preference) -> dict[str, Any]:
    return {name: harmless(getattr(one, name)) for name in ("prompt", "chosen", "rejected")}


SHAPES: dict[str, Callable[[Any], Any]] = {
    "pairs": lambda row: row, "sharegpt": _sharegpt, "alpaca": _alpaca, "chatml": _chatml, "dpo": _dpo,
}  # fmt: skip
# https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
DATASET_INFO: dict[str, Any] = {
    "sharegpt": {"file_name": "sharegpt.jsonl", "formatting": "sharegpt"},
    "alpaca": {"file_name": "alpaca.jsonl"},
    "chatml": {
        "file_name": "chatml.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    },
    "dpo": {
        "file_name": "dpo.jsonl",
        "ranking": True,
        "columns": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    },
}


def export_all(curation: Curation, folder: Path, licence: str = "unknown", form: Form = "plain") -> dict[str, int]:
    """Write every form into one folder.

    Args:
        curation: the state; its kept pairs are exported.
        folder: made when it is missing; what it holds under the same names is replaced.
        licence: of the data, for the card: an identifier of the Hugging Face hub such as "cc0-1.0".
        form: how reasoning and answer become what the model says; see `training_set.target_text`.

    Returns:
        Number of rows by form; "dpo" counts preferences.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"dataset": export_dataset(folder / "dataset", rows(curation, form), licence, form)}
    for name in ("pairs", "sharegpt", "alpaca", "chatml"):
        counts[name] = export_jsonl(folder / f"{name}.jsonl", rows(curation, form), name)
    counts["dpo"] = export_jsonl(folder / "dpo.jsonl", preferences(curation, form), "dpo")
    write_json(folder / "dataset_info.json", DATASET_INFO)
    return counts


def export_jsonl(path: Path, items: Iterable[Row] | Iterable[Preference], shape: str) -> int:
    """Write rows (or preferences, for "dpo") as JSON Lines in one of `SHAPES`; returns their number."""
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        for item in items:
            count += 1
            yield f"{to_json(SHAPES[shape](item)).translate(LINE_ENDS)}\n".encode()

    write_bytes(path, lines())
    return count


def export_dataset(folder: Path, items: Iterable[Row], licence: str = "unknown", form: Form = "plain") -> int:
    """Save rows as a `datasets.DatasetDict` with the split "train" and a dataset card; returns their number.

    An existing folder is replaced after the new one is complete.
    """
    from datasets import Dataset, DatasetDict, Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    names = [field.name for field in fields(Row)]
    features = Features({name: List(Value("string")) if name == "evidence_ids" else Value("string") for name in names})
    told: Counter[tuple[str, ...]] = Counter()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
        arrow, made = Path(work) / "rows.arrow", Path(work) / "dataset"
        with ArrowWriter(features=features, path=str(arrow), writer_batch_size=BATCH) as writer:
            for item in items:
                writer.write({name: getattr(item, name) for name in names})
                told[item.scope, item.kind, item.writer, item.decision, item.reviewer] += 1
            writer.finalize()
        DatasetDict({"train": Dataset.from_file(str(arrow))}).save_to_disk(str(made))
        write_text(made / "README.md", dataset_card(told, licence, form))
        if folder.exists():
            folder.rename(Path(work) / "old")  # goes with the work folder
        made.rename(folder)
    return sum(told.values())


def dataset_card(told: Mapping[tuple[str, ...], int], licence: str, form: str) -> str:
    """README.md of a dataset, as the Hugging Face hub reads it: metadata, counts, who decided what, how it was made.

    Args:
        told: number of rows by (scope, kind, writer, decision, reviewer).
        licence: see `export_all`.
        form: likewise.
    """
    import yaml

    count = sum(told.values())
    size = next((name for limit, name in SIZES if count < limit), "1M<n<10M")
    metadata = {
        "license": licence, "task_categories": ["question-answering"], "size_categories": [size],
        "tags": ["synthetic", "ragtune"], "pretty_name": "Curated question-answer pairs",
    }  # fmt: skip
    decided: Counter[tuple[str, str]] = Counter()
    groups: dict[str, Counter[str]] = {"scope": Counter(), "kind": Counter(), "question written by": Counter()}
    for (scope, kind, writer, decision, reviewer), number in told.items():
        who = "nobody (passed the checks)" if decision == "undecided" else reviewer or "a person without a name"
        decided[who, decision] += number
        for group, value in zip(groups.values(), (scope, kind, writer), strict=True):
            group[value] += number
    lines = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n\n# Curated question-answer pairs\n",
        f"{count:,} pairs, made from documents by ragtune (rules or a teacher model write them, mechanical checks "
        "compare them with their source) and decided about by people. Dropped pairs, and those that a check blocks and "
        f"nobody kept, are not in it. `target` is what a model shall say, in the form `{form}`.\n",
        "## Who decided\n",
        *_table(("who", "decision", "pairs"), [(*key, number) for key, number in sorted(decided.items())]),
        "## What it holds\n",
    ]
    for name, group in groups.items():
        lines += _table((name, "pairs"), sorted(group.items()))
    lines += ["## Licence\n", f"{_cell(licence)}. What the documents allow is for whoever shares this to check.\n"]
    return "\n".join(lines)


SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def _table(head: tuple[str, ...], cells: Iterable[tuple[Any, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [
        f"| {' | '.join(_cell(f'{value:,}' if isinstance(value, int) else value) for value in row)} |" for row in cells
    ]
    return [*lines, ""]


def _cell(text: str) -> str:
    """Text of somebody else as one cell of a Markdown table, without markup."""
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", html.escape(" ".join(text.split())))
