"""How much a run's tuned model recalls for questions that settings may be chosen by.

    python -m tests.benchmarks.recall outputs/journal

`development.jsonl` holds questions about the sample journal that were written from its entries alone, apart from the
held-out ones, for other facts than theirs and mostly in other words than the journal's. Whoever changes how the model
is trained or asked compares the figures of this table, never those of a report. For comparison the last rows have what
the packaged embedder finds that may read the documents: the sentence nearest to the question, and the 16 nearest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ragtune_lib.records import Chunk, Question, TrainConfig
from ragtune_lib.store import read_json, read_records, to_record

DEVELOPMENT = Path(__file__).with_name("development.jsonl")
COUNTS = (1, 8, 16)  # recitals finished per question
LONGEST = 96  # tokens, as notebook 06 has it


def main() -> None:
    """Entry point: prints a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recall", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run with an adapter")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="recitals finished per question")
    asked = parser.parse_args()
    _say("| recitals | scope | facts told | in the best recital | taken for wide | declined | seconds | n |")
    _say("| --- | --- | --- | --- | --- | --- | --- | --- |")
    questions = read_records(DEVELOPMENT, Question)
    for row in chain(recall_table(asked.run, questions, asked.counts), reading_table(asked.run, questions)):
        _say("| {} | {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {} |".format(*row))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def recall_table(folder: Path, questions: list[Question], counts: list[int]) -> Iterator[tuple]:
    """Yield for each number of recitals and scope what `main` prints: shares, and seconds per question."""
    from ragtune_lib.models import load_model, load_tokenizer
    from ragtune_lib.recite import recall, tell
    from ragtune_lib.score import fact_recall
    from ragtune_lib.support import abstains

    config = to_record(TrainConfig, read_json(folder / "train_config.json"))
    tokenizer, base = load_tokenizer(config.base_model), load_model(config.base_model)
    tuned = load_model(config.base_model, folder / "adapter")
    for count in counts:
        for scope in ("local", "global", "unanswerable"):
            own = [question for question in questions if question.scope == scope]
            rows = []
            started = time.perf_counter()
            for start in range(0, len(own), 16):
                group = own[start : start + 16]
                found = recall(tuned, base, tokenizer, [question.question for question in group], count, LONGEST)
                for question, recalled in zip(group, found, strict=True):
                    text = tell(recalled, LONGEST)
                    said = [fact_recall(recital.text, question.facts) for recital in recalled.recitals]
                    rows.append((fact_recall(text, question.facts), max(said), recalled.several, abstains(text)))
            seconds = (time.perf_counter() - started) / len(own)
            yield count, scope, *(sum(column) / len(own) for column in zip(*rows, strict=True)), seconds, len(own)


def reading_table(folder: Path, questions: list[Question]) -> Iterator[tuple]:
    """The same for the sentences of the documents that the packaged embedder finds nearest to each question."""
    from ragtune_lib.models import load_embedder
    from ragtune_lib.score import fact_recall
    from ragtune_lib.text import sentences

    embed = load_embedder()
    told = sorted({text for chunk in read_records(folder / "chunks.jsonl", Chunk) for text in sentences(chunk.text)})
    vectors = embed(told)
    for scope in ("local", "global"):
        own = [question for question in questions if question.scope == scope]
        started = time.perf_counter()
        nearest = (-embed([question.question for question in own]) @ vectors.T).argsort(axis=1)[:, :16].tolist()
        seconds = (time.perf_counter() - started) / len(own)
        found = [
            [fact_recall(told[at], question.facts) for at in row] for question, row in zip(own, nearest, strict=True)
        ]
        first, best = (sum(column) / len(own) for column in zip(*((row[0], max(row)) for row in found), strict=True))
        yield "16 sentences read", scope, first, best, 0.0, 0.0, seconds, len(own)


if __name__ == "__main__":
    main()
