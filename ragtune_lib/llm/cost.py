"""What calls cost: a forecast before a stage, a meter while it runs, a budget that ends it.

Tokens before a call are estimated from the characters of the real prompts, by the model's own kept replies where there
are any, else at four characters a token. Money is tokens times a price from a table that the user edits; a model that
is not in it has no known price, which is never the same as costing nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragtune_lib.llm.calls import Call, Spec
from ragtune_lib.llm.reply_cache import Usage
from ragtune_lib.store import ROOT

PRICES = ROOT / "data" / "prices.yaml"
CHARACTERS = 4.0  # per token of English text, before anything is known
ENOUGH = 20  # kept replies from which a forecast is calibrated


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float
    batch: float = 1.0  # share of that in the provider's batch interface

    def of(self, prompt_tokens: float, output_tokens: float) -> float:
        """Dollars for so many tokens."""
        return (prompt_tokens * self.input + output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


def price_of(spec: Spec, file: Path = PRICES) -> Price | None:
    """Price of a model; None where it is not known. What runs in this process costs nothing.

    Raises:
        ValueError: if the table is malformed; names file and model.
    """
    import yaml

    if spec.local:
        return FREE
    table = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    row = (table or {}).get(spec.name) or (table or {}).get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", spec.name))
    if row is None:
        return None
    try:
        price = Price(**{name: float(value) for name, value in row.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file}, {spec.name}: expected {{input: ..., output: ..., batch: ...}}; {error}") from error
    if min(price.input, price.output, price.batch) < 0:
        raise ValueError(f"{file}, {spec.name}: a price is not negative")
    return price


@dataclass(frozen=True, slots=True)
class Rates:
    """How characters and limits turn into tokens for one model."""

    characters: float  # sent, per prompt token
    share: float  # of max_tokens that a reply uses, in (0, 1]
    replies: int  # that this was measured on; 0: assumed

    def prompt_tokens(self, call: Call) -> float:
        """Expected tokens of what is sent."""
        return call.characters / self.characters + 4 * len(call.messages)  # about 4 per message for the chat form

    def output_tokens(self, call: Call) -> float:
        """Expected tokens of the reply."""
        return call.max_tokens * self.share


def rates(usage: Usage) -> Rates:
    """Rates from the kept replies of a model; from few of them, the assumed ones."""
    if usage.replies < ENOUGH or not usage.prompt_tokens or not usage.max_tokens:
        return Rates(CHARACTERS, 1.0, 0)
    share = min(1.0, max(usage.output_tokens, 1) / usage.max_tokens)
    return Rates(usage.characters / usage.prompt_tokens, share, usage.replies)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a stage will take, before it is started."""

    model: str
    calls: int  # in all
    cached: int  # of these, answered already
    prompt_tokens: int  # of the others, estimated
    output_tokens: int  # expected
    most_tokens: int  # of output, if every reply is as long as it may be
    money: float | None  # US dollars expected; None: the price is unknown
    most_money: float | None
    batch: float  # share of the money in the provider's batch interface
    replies: int  # kept replies that the estimate is calibrated on

    @property
    def due(self) -> int:
        """Calls that have to be made."""
        return self.calls - self.cached

    def __str__(self) -> str:
        basis = f"calibrated on {self.replies} replies" if self.replies else "at 4 characters a token"
        text = (
            f"{self.model}: {self.due:,} calls to make ({self.cached:,} of {self.calls:,} are kept), about "
            f"{self.prompt_tokens:,} tokens to read and {self.output_tokens:,} to write "
            f"(at most {self.most_tokens:,}); "
        )
        if self.money is None:
            return f"{text}price unknown: add {self.model!r} to data/prices.yaml; {basis}"
        half = f", as a batch {dollars(self.money * self.batch)}" if self.batch != 1 and self.due else ""
        return f"{text}about {dollars(self.money)} (at most {dollars(self.most_money or 0.0)}){half}; {basis}"


def forecast(spec: Spec, calls: Iterable[tuple[Call, bool]], usage: Usage, price: Price | None) -> Forecast:
    """Forecast of a stage; repairs of unreadable replies are not in it.

    Args:
        spec: The model.
        calls: Each call, and whether its reply is kept already.
        usage: Of the model so far.
        price: Of the model; None where unknown.
    """
    known = rates(usage)
    count = cached = most = 0
    prompt = output = 0.0
    for call, kept in calls:
        count += 1
        cached += kept
        if not kept:
            prompt += known.prompt_tokens(call)
            output += known.output_tokens(call)
            most += call.max_tokens
    return Forecast(
        model=spec.name,
        calls=count,
        cached=cached,
        prompt_tokens=round(prompt),
        output_tokens=round(output),
        most_tokens=most,
        money=price and price.of(prompt, output),
        most_money=price and price.of(prompt, most),
        batch=price.batch if price else 1.0,
        replies=known.replies,
    )


def dollars(amount: float) -> str:
    """Money for people: cents as long as they matter.

    >>> dollars(12.345), dollars(0.0312), dollars(0.00004), dollars(0)
    ('$12.35', '$0.031', '<$0.001', '$0')
    """
    if not amount:
        return "$0"
    if amount < 0.001:
        return "<$0.001"
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.3f}"


def compact(count: float) -> str:
    """A count for a narrow place.

    >>> compact(950), compact(12_345), compact(1_234_567)
    ('950', '12.3k', '1.2M')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


class Meter:
    """Counts requests, tokens and money of a model over all its stages, and keeps to a budget.

    Before a request its highest price is set aside; where the budget has no room for it, the request waits until the
    others have come back and what they did not use is free again. If there is still no room, the budget is reached. So
    it is never overdrawn by more than the estimate of the prompts is wrong.

    Args:
        price: of the model; None where unknown.
        budget: US dollars, None for no limit.

    Raises:
        ValueError: for a budget without a known price.
    """

    def __init__(self, price: Price | None, budget: float | None = None):
        if budget is not None and price is None:
            raise ValueError("a budget needs a price: add the model to data/prices.yaml, or leave the budget out")
        self.price, self.budget = price, budget
        self.requests = self.prompt_tokens = self.output_tokens = 0
        self.money = 0.0
        self.reached = False  # the budget is used up
        self._aside = 0.0
        self._changed = threading.Condition()

    def most(self, prompt_tokens: float, output_tokens: float) -> float:
        """Highest price of a request."""
        return self.price.of(prompt_tokens, output_tokens) if self.price else 0.0

    def set_aside(self, amount: float, stop: threading.Event) -> bool:
        """Claim the money of a request.

        Returns:
            False if the budget is reached or `stop` was set; nothing is claimed then.
        """
        with self._changed:
            while self.budget is not None and self.money + self._aside + amount > self.budget:
                if self.reached or stop.is_set():
                    return False
                if self._aside <= 1e-12:  # nothing is on its way that could set money free
                    self.reached = True
                    self._changed.notify_all()
                    return False
                self._changed.wait(1.0)
            self._aside += amount
            return True

    def settle(self, aside: float, requests: int, prompt_tokens: int, output_tokens: int, share: float = 1.0) -> None:
        """Replace what was set aside for a request by what it took; nothing, if it failed.

        Args:
            aside: claimed before.
            requests: that were sent, repetitions after errors included.
            prompt_tokens: that the server read.
            output_tokens: that it wrote.
            share: of the price, for a batch.
        """
        with self._changed:
            self._aside -= aside
            self.requests += requests
            self.prompt_tokens += prompt_tokens
            self.output_tokens += output_tokens
            self.money += share * self.price.of(prompt_tokens, output_tokens) if self.price else 0.0
            self._changed.notify_all()

    def counts(self) -> tuple[int, int, float]:
        """Requests, tokens and dollars so far."""
        with self._changed:
            return self.requests, self.prompt_tokens + self.output_tokens, self.money

    def spent(self, since: tuple[int, int, float] = (0, 0, 0.0)) -> str:
        """Requests, tokens and money in words, from an earlier `counts` on."""
        requests, tokens, money = (now - then for now, then in zip(self.counts(), since, strict=True))
        price = dollars(money) if self.price else "price unknown"
        return f"{requests:,} requests, {compact(tokens)} tokens, {price}"


def reasons(kinds: Mapping[str, int]) -> str:
    """Counted reasons, the most frequent first: "12 refused, 7 cut off"."""
    ordered: Any = sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count:,} {kind}" for kind, count in ordered)
