"""A pair that a person turned down, worded anew by the teacher with the person's reason before it.

The new wording is an offer: the panel shows it beside the old one, and only a person makes it the one that is learnt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from ragtune_lib.llm import Model
from ragtune_lib.records import Chunk, QAPair
from ragtune_lib.source_calls import source_call
from ragtune_lib.teacher.pairs import PAIR

STAGE = "04_curate"
VARIED = 0.7  # temperature: whoever asks again wants another wording


def rewriter(model: Model, chunks: Sequence[Chunk], max_tokens: int = 1200) -> Callable[[QAPair, str], QAPair]:
    """What `CurationPanel` takes as `rewrite`.

    Args:
        model: the teacher.
        chunks: all that the evidence ids of pairs may name.
        max_tokens: of a reply.

    Returns:
        A function of a pair and of what is wrong with it. It gives the pair in a new wording and by another writer;
        asked again about the same, it gives another one. It raises ValueError for a pair without evidence or a reply
        without question or answer, and StageError where the teacher does not reply.
    """
    by_id = {chunk.id: chunk for chunk in chunks}
    asked: Counter[tuple[str, str]] = Counter()

    def rewrite(pair: QAPair, reason: str) -> QAPair:
        seen = [by_id[name] for name in pair.evidence_ids if name in by_id]
        if not seen:
            raise ValueError("none of its evidence is among the documents: edit the pair by hand")
        texts = {"question": pair.question, "reasoning": pair.reasoning or "(none)", "answer": pair.answer}
        times = asked[pair.id, reason]
        call = source_call("pair_again", pair.id, seen, PAIR, max_tokens, VARIED, times, **texts, reason=reason)
        (result,) = model.ask(STAGE, [call]).results  # raises where the only call fails
        asked[pair.id, reason] += 1
        found = {name: result.reply.data[name].strip() for name in ("question", "reasoning", "answer")}
        if not (found["question"] and found["answer"]):
            raise ValueError("the teacher left question or answer empty: say in the note what it should be")
        return replace(pair, **found, cues="", writer=model.name)

    return rewrite
