"""A scripted model as a reader whose tokens are characters, for tests of the baselines."""

import re

from ragtune_lib.baselines.reading import CHARACTERS, ModelReader
from ragtune_lib.llm import Model, Scripted
from ragtune_lib.llm.cost import Meter, Price
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.records import Question

PRICE = Price(2.0, 8.0)  # dollars per million tokens


def reader_of(tmp_path, reply, window=100_000, max_tokens=90, price=PRICE):
    """A reader, and what it was asked."""
    scripted = Scripted(reply)
    model = Model("scripted", ReplyCache(tmp_path / "calls.sqlite"), scripted, Meter(price), 2)
    return ModelReader(model, CHARACTERS, window, max_tokens), scripted


def questions_of(*texts):
    return [Question(f"q{at}", "global", text, "x", (), ()) for at, text in enumerate(texts)]


def text_of(call):
    """All that a call says."""
    ((_, text),) = call.messages
    return text


def parts_of(call):
    """What stands under each heading of a prompt, as whoever knows the mark reads it."""
    text = text_of(call)
    mark = re.search(r"the mark (\w{16}) ", text)[1]
    pieces = re.split(rf"^===== {mark} (.*)\n?", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], (piece.removesuffix("\n") for piece in pieces[2::2]), strict=True))
