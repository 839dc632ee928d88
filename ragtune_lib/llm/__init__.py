"""The one seam to models: many calls in, one result for each out. What a user of it needs is named here."""

from ragtune_lib.llm.calls import Call, StageError, prompt
from ragtune_lib.llm.model import Asked, Model, Scripted, open_model

__all__ = ["Asked", "Call", "Model", "Scripted", "StageError", "open_model", "prompt"]
