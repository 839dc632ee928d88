"""One call for each of many things, and the rehearsal of stages whose calls depend on earlier replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ragtune_lib.llm.calls import Call, Reply, Result, StageError, parse_spec
from ragtune_lib.llm.cost import Forecast, forecast
from ragtune_lib.llm.model import Model
from ragtune_lib.llm.tally import REPLY_FAULTS
from ragtune_lib.records import Problem

Thing = TypeVar("Thing")
TEXT = 240  # characters of a text that no model has written yet
LIST = 3  # items of a list that no model has written yet


class Calls(Sequence):
    """The calls of many things, each made when it is looked at: prompts are long, and not all of them fit in memory."""

    def __init__(self, things: Sequence[Thing], call_of: Callable[[Thing], Call]):
        self.things, self.call_of = things, call_of

    def __len__(self) -> int:
        return len(self.things)

    def __getitem__(self, place: Any) -> Any:
        return self.call_of(self.things[place])


def results_of_each(
    model: Model | Rehearsal, stage: str, things: Sequence[Thing], call_of: Callable[[Thing], Call]
) -> Iterator[tuple[Thing, Result]]:
    """Ask one call about each thing; nothing is asked, and nothing printed, when there are none.

    Of several calls one has to succeed. A single one whose reply is refused, cut off, empty or unreadable says nothing
    about others: it is a Problem of its thing, and what to do without it is for the caller to know.

    Args:
        model: who is asked.
        stage: name of the stage.
        things: what it is about.
        call_of: the call about one of them.

    Yields:
        Each thing in order, with what became of its call.

    Raises:
        StageError: as in `Model.ask`, with the problems known by then.
    """
    if not things:
        return
    problems: list[Problem] = []
    try:
        for thing, result in zip(things, model.stream(stage, Calls(things, call_of)), strict=True):
            problems += [result.problem] if result.problem else []
            yield thing, result
    except StageError as error:
        if len(things) == 1 and problems and problems[0].reason.startswith(REPLY_FAULTS):
            return
        error.problems = error.problems or tuple(problems)
        raise


def ask_each(
    model: Model | Rehearsal, stage: str, things: Sequence[Thing], call_of: Callable[[Thing], Call]
) -> Iterator[tuple[Thing, Any, Problem | None]]:
    """`results_of_each`, taken apart.

    Yields:
        Each thing in order, with the reply's JSON (its text, for a call without schema) and None, or with None and the
        Problem.
    """
    for thing, result in results_of_each(model, stage, things, call_of):
        if result.problem:
            yield thing, None, result.problem
        else:
            yield thing, result.reply.text if result.call.schema is None else result.reply.data, None


@dataclass(frozen=True, slots=True)
class _Size:
    """What a forecast wants to know of a call."""

    characters: int
    messages: tuple[None, ...]
    max_tokens: int


class Rehearsal:
    """Answers in a model's place and sends nothing: to count the calls of work that asks more than once.

        rehearsal = Rehearsal(model)
        synthesize(rehearsal, plan)  # what comes out of it is worthless
        print(rehearsal.forecast())

    A call whose reply is kept gets it; so after a finished run the rehearsal is the run. Every other call gets a
    stand-in that fits its schema: texts of 240 characters, all different, lists of 3, and "true". Later prompts are
    then about as long as the real ones will be. Work that goes on after a "true" is counted as if all went on, so the
    number of calls is an upper limit.

    Args:
        model: the one that would be asked.
    """

    def __init__(self, model: Model):
        self.model, self.name = model, model.name
        self.invented = 0  # stand-ins given; 0: everything was kept
        self._sizes: list[tuple[_Size, bool]] = []
        self._seen: set[str] = set()

    def stream(self, stage: str, calls: Iterable[Call]) -> Iterator[Result]:
        """A result for each call, as `Model.stream` gives them."""
        for call in calls:
            key = self.model.key(call)
            kept = self.model.cache.get(key)
            size = _Size(call.characters, (None,) * len(call.messages), call.max_tokens)
            self._sizes.append((size, kept is not None or key in self._seen))
            self._seen.add(key)
            yield Result(call, kept or self._stand_in(call), None, kept is not None)

    def _stand_in(self, call: Call) -> Reply:
        self.invented += 1
        data = stand_in(call.schema, str(self.invented)) if call.schema else None
        return Reply(_text(str(self.invented)), data, self.name, 0, 0, 0.0)

    def forecast(self) -> Forecast:
        """Calls, tokens and money of all that was asked."""
        usage, price = self.model.cache.usage(self.name), self.model.meter.price
        return forecast(parse_spec(self.name), self._sizes, usage, price)  # type: ignore[arg-type]


def stand_in(schema: Mapping[str, Any], mark: str) -> Any:
    """A value that fits a schema; texts begin with `mark`, so that those of two calls differ.

    >>> stand_in({"type": "object", "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer"}}}, "7")
    {'ok': True, 'n': 1}
    """
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return {name: stand_in(inner, f"{mark} {name}") for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [stand_in(schema.get("items", {}), f"{mark} {number}") for number in range(LIST)]
    return {"string": _text(mark), "boolean": True, "integer": 1, "number": 1.0, "null": None}[kind]


def _text(mark: str) -> str:
    return f"stand-in {mark} ".ljust(TEXT, "x")
