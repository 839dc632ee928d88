"""How much a run's tuned model recalls for questions that settings may be chosen by.

    python -m tests.benchmarks.recall outputs/journal

`development.jsonl` holds questions about the sample journal that were written from its entries alone, apart from the
held-out ones, for other facts than theirs and mostly in other words than the journal's. Whoever changes how the model is trained or asked compares
the figures of this table, never those of a report.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ragtune_lib.records import Question, TrainConfig
from ragtune_lib.store import read_json, read_records, to_record

DEVELOPMENT = Path(__file__).with_name("development.jsonl")
COUNTS = (1, 4, 8, 16)  # recitals finished per question
LONGEST = 96  # tokens, as notebook 06 has it


def main() -> None:
    """Entry point: prints a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recall", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run with an adapter")
    folder = parser.parse_args().run
    questions = [question for question in read_records(DEVELOPMENT, Question) if question.scope == "local"]
    _say(
        "| recitals | facts recalled | in the best of them | seconds a question | n |\n| --- | --- | --- | --- | --- |"
    )
    for count, chosen, best, seconds in recall(folder, questions):
        _say(f"| {count} | {chosen:.2f} | {best:.2f} | {seconds:.2f} | {len(questions)} |")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def recall(folder: Path, questions: list[Question]) -> Iterator[tuple[int, float, float, float]]:
    """Yield for each number of recitals: it, recall of the chosen one, of the best one, and seconds per question."""
    from ragtune_lib.models import load_model, load_tokenizer
    from ragtune_lib.recite import choose, recitals
    from ragtune_lib.score import fact_recall

    config = to_record(TrainConfig, read_json(folder / "train_config.json"))
    tokenizer, base = load_tokenizer(config.base_model), load_model(config.base_model)
    tuned = load_model(config.base_model, folder / "adapter")
    for count in COUNTS:
        chosen = best = 0.0
        started = time.perf_counter()
        for start in range(0, len(questions), 16):
            group = questions[start : start + 16]
            found, _ = recitals(tuned, base, tokenizer, [question.question for question in group], count, LONGEST)
            for question, said in zip(group, found, strict=True):
                chosen += fact_recall(choose(said), question.facts)
                best += max(fact_recall(recital.text, question.facts) for recital in said)
        seconds = (time.perf_counter() - started) / len(questions)
        yield count, chosen / len(questions), best / len(questions), seconds


if __name__ == "__main__":
    main()
