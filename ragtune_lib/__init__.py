"""ragtune: documents to graph, graph to training data, training data to a small model's memory, and a verdict.

Importing this package loads nothing heavy: torch, transformers and the rest are imported inside the stage that needs
them. Start at `records` for the vocabulary and at the notebooks for the flow.
"""

import os

# OpenMP threads that wait for each other spin for milliseconds before they sleep; beside one other busy process that
# makes torch 20 to 30 times slower. A short spin costs nothing on a quiet machine and a factor of 3 on a busy one.
# libgomp reads this when torch is imported, so this package has to be imported before.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

__version__ = "0.1.0"
