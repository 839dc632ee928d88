"""The one seam to models: many calls in, one result for each out. What a user of it needs can be imported from here.

Its modules, in reading order:

- `model`: the calls of a stage: kept replies, workers, progress
- `calls`: model specs, calls and replies
- `replies`: whether a reply is an answer; JSON schemas
- `reply_cache`: kept replies, on disk before they are used
- `endpoint`: one call to a server: limits, repetitions, what its faults mean
- `wire`: HTTP, and where the key is
- `limits`: requests and tokens per minute, as the server wants them
- `local_model`: the same calls to a model that runs here
- `batch_api`: the same calls at half the price, within a day
- `cost`: forecast, meter, budget
- `tally`: how a stage went, and when it is given up
- `each`: one call for each of many things, and rehearsing that for a forecast
"""

from ragtune_lib.llm.calls import Call, StageError, prompt
from ragtune_lib.llm.model import Asked, Model, Scripted, open_model

__all__ = ["Asked", "Call", "Model", "Scripted", "StageError", "open_model", "prompt"]
