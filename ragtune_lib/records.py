"""The vocabulary: every type that passes between stages.

All records are pure values: frozen, compared by content, written as one JSON object per line (`store`). Ids come from
content (`store.content_id`), so two runs over the same input give the same ids. Lists inside records are tuples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scope = Literal["local", "global"]
QuestionScope = Literal["local", "global", "unanswerable"]
Winner = Literal["a", "b", "tie", "invalid"]


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the user's corpus, as read."""

    id: str  # content id of name and text
    name: str  # path relative to the folder, or path#id for a row of a .jsonl file
    title: str
    text: str
    date: str  # ISO date found in the name or the title; "" where there is none


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of one document: `text == document.text[start:end]`."""

    id: str
    document_id: str
    start: int  # character offset, inclusive
    end: int  # character offset, exclusive
    text: str
    date: str  # the document's date, "" where there is none


@dataclass(frozen=True, slots=True)
class Mention:
    """One name or noun phrase found in one sentence of one chunk."""

    name: str  # as written
    kind: Literal["name", "phrase"]
    sentence: str
    chunk_id: str
    start: int  # character offset of the sentence in the document, inclusive


@dataclass(frozen=True, slots=True)
class ExtractedEntity:
    """An entity as a model wrote it down for one chunk."""

    name: str  # as written
    kind: str  # one of the asked types, "" where none is near
    description: str  # may be empty
    chunk_id: str


@dataclass(frozen=True, slots=True)
class ExtractedRelationship:
    """A connection of two entities as a model wrote it down for one chunk."""

    source: str  # names as written
    target: str
    description: str  # may be empty
    weight: float  # the strength that the model gave, 1 to 10
    chunk_id: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as evidence: where it stands and what it says."""

    text: str
    chunk_id: str
    date: str  # ISO date of its document, "" where there is none
    position: int = 0  # rank among all sentences of the corpus that name something, in reading order


@dataclass(frozen=True, slots=True)
class Entity:
    """A node of the graph: all mentions that share one normalised name."""

    id: str
    name: str  # most frequent spelling
    kind: str  # "name" or "phrase" by the rules, else an entity type; "" where a model gave none
    description: str  # source sentences, joined by a blank; or what a model wrote
    evidence: tuple[Sentence, ...]  # in document order, each sentence once
    chunk_ids: tuple[str, ...]  # sorted, not empty


@dataclass(frozen=True, slots=True)
class Relationship:
    """An undirected edge: two entities named in the same sentence, or connected by a model that read the text."""

    id: str
    source: str  # entity id, source < target
    target: str  # entity id
    weight: float  # number of sentences that name both, or the sum of the strengths that a model gave; > 0
    description: str
    evidence: tuple[Sentence, ...]
    chunk_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Community:
    """A group of entities at one level of the hierarchy; at one level each entity is in at most one."""

    id: str
    level: int  # 0 is the coarsest
    parent_id: str  # "" at level 0
    entity_ids: tuple[str, ...]  # sorted
    title: str  # names of its best connected members, or a model's title
    summary: str  # source sentences that name its members, in date order; or a model's report
    evidence: tuple[Sentence, ...]


# kinds of pairs whose reasoning is in its writer's own words; that of all others recalls the source word for word
REASONED = frozenset({"entity_cot", "relation_cot", "local_entity", "local_relation", "community_cot"})


@dataclass(frozen=True, slots=True)
class AliasPair:
    """Two entities that may be the same, with what speaks for and against it."""

    entity_ids: tuple[str, str]  # sorted
    names: tuple[str, str]  # in the same order
    score: float  # in [0, 1], to sort by; no probability
    name: float  # likeness of the names, in [0, 1]
    meaning: float  # cosine of name and description, in [-1, 1]; nan where nothing was embedded
    neighbours: float  # share of the smaller neighbourhood that both have, in [0, 1]
    reasons: tuple[str, ...]  # in words, for a person


@dataclass(frozen=True, slots=True)
class AliasDecision:
    """What a person decided about entities that may be the same; the last decision about each two of them counts."""

    pair_id: str  # content id of the entity ids
    entity_ids: tuple[str, ...]  # sorted, at least 2; more than 2: all of them are one, or no two of them are
    action: Literal["accept", "reject", "undo"]
    names: tuple[str, ...] = ()  # what they were called, for a reader of the file
    reviewer: str = ""
    at: str = ""  # ISO time, UTC

    @property
    def about(self) -> str:
        """What the decision is about."""
        return self.pair_id


@dataclass(frozen=True, slots=True)
class GraphEdit:
    """A person's correction of the graph; of each entity the last name and the last type count."""

    about: str  # id of the entity; of the relationship, for "unlink"
    action: Literal["rename", "retype", "delete", "unlink", "undo"]
    value: str = ""  # the new name or type; "" is no type
    name: str = ""  # what it was called, for a reader of the file
    reviewer: str = ""
    at: str = ""  # ISO time, UTC


@dataclass(frozen=True, slots=True)
class QAPair:
    """One synthetic question with the reasoning and the answer that the model shall learn."""

    id: str  # content id of question, reasoning and answer
    scope: Scope
    kind: str  # by rules: entity, relationship, sentence, written, document, absent, community, change, period, theme;
    # by a teacher: entity_template, relation_template, and those of REASONED
    question: str
    reasoning: str  # recalls the evidence, or thinks about it, before the answer; may be empty
    answer: str
    evidence_ids: tuple[str, ...]  # chunk ids
    writer: str  # who worded the question: "template" or a model's name
    fact_id: str  # pairs that word the same fact differently share it
    cues: str = ""  # telling words of the evidence, learnt before it: they decide early which evidence is recalled;
    # where the reasoning has several lines, one source sentence each, as many lines


@dataclass(frozen=True, slots=True)
class Flag:
    """A finding about one pair, by a mechanical check or by a model that saw the source."""

    pair_id: str
    check: str  # quote, number, name, duplicate, conflict, leak, length, echo; by a model: faithful, relevant, worth
    detail: str
    blocks: bool  # True: the pair is not used unless a person keeps it


@dataclass(frozen=True, slots=True)
class Decision:
    """One event of a person who looks at pairs; what follows from all of them is in `curation.events`."""

    pair_id: str
    action: Literal["keep", "edit", "drop", "flag", "skip", "note", "undo", "redo"]
    question: str = ""  # the new wording, for "edit"
    reasoning: str = ""
    answer: str = ""
    note: str = ""  # a remark, or the reason
    reviewer: str = ""
    at: str = ""  # ISO time, UTC
    step: str = ""  # what was done at once shares it; "undo" and "redo" name the step that they are about
    content: str = ""  # hash of the pair that was looked at; "" in files of earlier versions
    adjudication: bool = False  # the decision of a named reviewer between others; overrides theirs


@dataclass(frozen=True, slots=True)
class Example:
    """One training example in chat form; loss is taken on the assistant's text alone."""

    id: str
    pair_id: str
    question: str
    target: str  # what the assistant says, reasoning included where the form asks for it
    split: Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out question with the facts that a right answer states."""

    id: str
    scope: QuestionScope
    question: str
    answer: str
    facts: tuple[tuple[str, ...], ...]  # each fact: its accepted wordings; empty for unanswerable
    evidence: tuple[str, ...]  # document names without suffix, or chunk ids for generated questions


@dataclass(frozen=True, slots=True)
class Answer:
    """What one system said to one question."""

    question_id: str
    system: str
    text: str
    context_ids: tuple[str, ...]  # chunks or community reports put before the question, best first
    prompt_tokens: int
    output_tokens: int
    seconds: float  # wall time of its batch, divided by the batch's size; for an endpoint the sum of its requests
    cost: float = 0.0  # US dollars by the price table; 0 for what runs here, nan where the price is unknown


@dataclass(frozen=True, slots=True)
class Verdict:
    """One comparison of two systems on one question by one criterion."""

    question_id: str
    scope: QuestionScope
    criterion: str
    system_a: str
    system_b: str
    winner: Winner
    value_a: float
    value_b: float
    judge: str


@dataclass(frozen=True, slots=True)
class JudgeCall:
    """What one reply of a judge model says by one criterion; `judges.llm_judge.verdicts` folds them into a Verdict."""

    question_id: str
    scope: QuestionScope
    criterion: str
    system_a: str
    system_b: str
    order: Literal["ab", "ba"]  # whose answer was shown first
    replicate: int  # from 0; even ones show a first, odd ones b
    winner: Winner  # "invalid": an answer is missing, or the call failed
    reason: str  # the judge's, or why it is invalid
    length_a: int  # words
    length_b: int
    judge: str  # model and rubric


@dataclass(frozen=True, slots=True)
class HumanVerdict:
    """What a person said about one blind pair; the last one that was not taken back counts."""

    pair_id: str  # content id of the question and both answers as shown, so it holds for no others
    action: Literal["first", "second", "tie", "undo"]
    reviewer: str = ""
    at: str = ""  # ISO time, UTC


@dataclass(frozen=True, slots=True)
class ClaimList:
    """The claims that a model found in one answer."""

    question_id: str
    system: str
    claims: tuple[str, ...]  # in the order of the answer, as the model worded them


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often `system` beats `baseline`; ties count half."""

    system: str
    baseline: str
    scope: str
    criterion: str
    judge: str
    rate: float  # in [0, 1]; nan when n is 0
    low: float  # bootstrap interval over questions
    high: float
    n: int
    ties: int
    invalid: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One item that a stage could not turn into output; items in = items out + problems."""

    stage: str
    item: str
    reason: str
    reply: str = ""  # what a model said, where that could not be used


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Every number the fine-tuning depends on; saved beside the adapter.

    Defaults are measured on the sample journal with SmolLM2-135M (see README); for a 7B model on a GPU the run files
    set rank 16, learning rate 2e-4 and 3 epochs, the published recipe of the paper's sibling project.
    """

    base_model: str  # "embedded", a local folder or a hub id
    backend: Literal["unsloth", "peft"] = "unsloth"
    trained_layers: float = 0.6  # share of the layers, from the top, that carry adapters; no gradient below them
    rank: int = 32  # LoRA r
    alpha: int = 64  # LoRA scale; the update is multiplied by alpha / rank
    learning_rate: float = 4e-3
    epochs: float = 1.3
    batch_size: int = 8  # examples per optimizer step
    max_tokens: int = 1024  # longer examples are refused and counted, never cut
    warmup: float = 0.05  # share of all steps
    load_in_4bit: bool = False  # needs a CUDA device
    save_steps: int = 100
    seed: int = 17


@dataclass(frozen=True, slots=True)
class TrainLog:
    """One optimizer step of the fine-tuning."""

    step: int  # from 1
    steps: int  # in the whole run
    loss: float  # mean over the labels of the step
    tokens: int  # trained so far, padding not counted
    padding: float  # share of padding in what was computed so far
    seconds: float  # since the start, over all resumed parts
