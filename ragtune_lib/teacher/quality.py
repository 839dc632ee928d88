"""Three questions to a model about each pair, with the source before it: faithful? relevant? worth asking?

One structured call gives the three verdicts, each after its reason. Three calls would keep the verdicts apart more
strictly, but the source is nearly all of a prompt, and it would be paid three times. The prompt asks to decide each by
itself; the reason stands before its verdict, so that the verdict follows from it.

A pair that fails is flagged, not removed: the flags stand beside those of `checks`, and a person may overrule them.
The mechanical checks come afterwards and ask no model: `check_pairs(..., earlier=quality.flags)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ragtune_lib.llm import Call, Model
from ragtune_lib.llm.cost import Forecast
from ragtune_lib.llm.each import Rehearsal, ask_each
from ragtune_lib.llm.replies import TEXT, YES, fields
from ragtune_lib.records import Chunk, Flag, Problem, QAPair
from ragtune_lib.source_calls import source_call

STAGE = "04_curate"
STEPS = ("faithful", "relevant", "worth")
UNJUDGED = "unjudged"  # a text that makes a model refuse must not slip past it
VERDICTS = fields(**{name: kind for step in STEPS for name, kind in ((f"{step}_reason", TEXT), (step, YES))})


@dataclass(frozen=True, slots=True)
class Quality:
    """What a model thinks of pairs; pairs = passed + pairs with flags + exempt, each problem with a flag of its own."""

    flags: tuple[Flag, ...]  # in the order of the pairs, then of the steps
    passed: tuple[str, ...]  # pair ids
    exempt: tuple[str, ...]  # pairs that claim nothing: "absent" ones without evidence
    problems: tuple[Problem, ...]  # not judged; such pairs carry the flag "unjudged"

    def __str__(self) -> str:
        failed = len({flag.pair_id for flag in self.flags if flag.check != UNJUDGED})
        steps = ", ".join(f"{sum(flag.check == step for flag in self.flags):,} not {step}" for step in STEPS)
        return (
            f"{len(self.passed):,} passed, {failed:,} flagged ({steps}), {len(self.exempt):,} exempt, "
            f"{len(self.problems):,} not judged"
        )


def quality_flags(
    model: Model | Rehearsal, pairs: Sequence[QAPair], chunks: Sequence[Chunk], max_tokens: int = 600
) -> Quality:
    """Have a model read each pair beside its evidence and flag what it finds wrong.

    Args:
        model: who judges; better not the one that wrote the pairs.
        pairs: what was synthesized; a pair that occurs twice is judged once.
        chunks: all that the evidence ids may name.
        max_tokens: of a reply.

    Returns:
        Flags that block, with the model's reason as their detail; and one that blocks for each pair that it could not
        judge.

    Raises:
        StageError: see `Model.ask`.
    """
    by_id = {chunk.id: chunk for chunk in chunks}
    order = {chunk.id: place for place, chunk in enumerate(chunks)}
    distinct = list({pair.id: pair for pair in pairs}.values())
    exempt = {pair.id for pair in distinct if pair.kind == "absent" and not pair.evidence_ids}
    claims = [pair for pair in distinct if pair.id not in exempt]
    judged = [pair for pair in claims if any(name in by_id for name in pair.evidence_ids)]

    def call_of(pair: QAPair) -> Call:
        seen = sorted((name for name in pair.evidence_ids if name in by_id), key=order.__getitem__)
        texts = {"question": pair.question, "reasoning": pair.reasoning or "(none)", "answer": pair.answer}
        return source_call("pair_quality", pair.id, [by_id[name] for name in seen], VERDICTS, max_tokens, **texts)

    flags, passed = [], []
    lost = [pair.id for pair in claims if not any(name in by_id for name in pair.evidence_ids)]
    problems = [Problem(STAGE, name, "none of its evidence is among the documents") for name in lost]
    flags += [Flag(problem.item, UNJUDGED, problem.reason, True) for problem in problems]
    for pair, data, problem in ask_each(model, STAGE, judged, call_of):
        if problem:
            problems.append(problem)
            flags.append(Flag(pair.id, UNJUDGED, problem.reason, True))
            continue
        failed = [Flag(pair.id, step, data[f"{step}_reason"].strip(), True) for step in STEPS if not data[step]]
        flags += failed
        passed += [] if failed else [pair.id]
    return Quality(
        tuple(flags), tuple(passed), tuple(pair.id for pair in distinct if pair.id in exempt), tuple(problems)
    )


def forecast_quality(model: Model, pairs: Sequence[QAPair], chunks: Sequence[Chunk], max_tokens: int = 600) -> Forecast:
    """Calls, tokens and money of `quality_flags`; nothing is sent."""
    rehearsal = Rehearsal(model)
    quality_flags(rehearsal, pairs, chunks, max_tokens)
    return rehearsal.forecast()
