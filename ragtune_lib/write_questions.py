"""Questions that a language model words, kept only when they lead back to the sentence they were written for.

A small model writes many questions that its sentence does not answer. Rules cannot replace them all the same: people
ask in words that the text does not use, and only a model supplies such words. So much is drafted and most is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ragtune_lib.generate import Prefix, generate
from ragtune_lib.records import QAPair, Sentence
from ragtune_lib.synthesize import fact_of, make_pair, recited, unique
from ragtune_lib.text import normalize

SHOTS = (
    (
        "My sister Ruth came on Friday with a bag of plums from her garden.",
        "Who came on Friday? What did Ruth bring with her? Where did the plums come from? "
        "When did the narrator's sister visit?",
    ),
    (
        "I paid the locksmith 85 pounds because the key had snapped in the lock.",
        "How much did the locksmith cost? What happened to the key? Why was a locksmith needed? "
        "How much money went on opening the door?",
    ),
)
HEAD = "Questions that somebody might ask later about a sentence.\n\n" + "".join(
    f"Sentence: {sentence}\nQuestions: {questions}\n\n" for sentence, questions in SHOTS
)
SHORTEST, LONGEST = 4, 20  # words of a question


def draft_questions(
    units: Sequence[Sentence], model: Any, tokenizer: Any, drafts: int, narrator: str, seed: int
) -> list[tuple[int, str]]:
    """Let a model write questions about each unit, several times with different luck.

    Args:
        units: source sentences.
        model: a causal language model; it needs no chat form.
        tokenizer: its tokenizer.
        drafts: lists of some four questions per unit.
        narrator: how the examples call a first-person writer.
        seed: of the sampling.

    Returns:
        (position of the unit, question), each once, of 4 to 20 words.
    """
    about = [position for _ in range(drafts) for position in range(len(units))]
    prompts = [f"Sentence: {units[position].text}\nQuestions:" for position in about]
    head = Prefix(model, tokenizer, HEAD.replace("the narrator", narrator))
    texts = generate(model, tokenizer, prompts, 48, 0.7, seed, label="write questions", prefix=head, stop="\n")
    found: dict[tuple[int, str], str] = {}
    for position, text in zip(about, texts, strict=True):
        for question in map(str.strip, re.findall(r"[^?]+\?", text)):
            if SHORTEST <= len(question.split()) <= LONGEST:
                found.setdefault((position, normalize(question)), question)
    return [(position, question) for (position, _), question in found.items()]


def round_trip(
    drafted: Sequence[tuple[int, str]], units: Sequence[Sentence], embed: Callable, most: int
) -> list[tuple[int, str]]:
    """The drafted questions that are nearest to their own unit among all units, at most `most` per unit.

    Args:
        drafted: (position of the unit, question).
        units: source sentences.
        embed: texts to rows of length 1; nearness is their cosine.
        most: of a unit's questions that pass, the first ones drafted are kept.
    """
    import numpy as np

    if not drafted:
        return []
    vectors = np.asarray(embed([unit.text for unit in units]))
    near = np.asarray(embed([question for _, question in drafted])) @ vectors.T
    counts = [0] * len(units)
    kept = []
    for (position, question), row in zip(drafted, near, strict=True):
        if row[position] >= row.max() and counts[position] < most:
            counts[position] += 1
            kept.append((position, question))
    return kept


def written_pairs(
    kept: Sequence[tuple[int, str]], units: Sequence[Sentence], cues: Sequence[str], writer: str
) -> list[QAPair]:
    """Local pairs of kept questions; the answer is the whole unit, whatever detail the question asks for."""
    return unique(
        make_pair(
            "local",
            "written",
            question,
            recited(units[at]),
            units[at].text,
            [units[at]],
            writer,
            fact_of(units[at]),
            cues[at],
        )
        for at, question in kept
    )
