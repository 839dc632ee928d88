"""ragtune: documents to graph, graph to training data, training data to a small model's memory, and a verdict.

Importing this package loads nothing heavy: torch, transformers and the rest are imported inside the stage that needs
them. Start at `records` for the vocabulary and at the notebooks for the flow.
"""

__version__ = "0.1.0"
