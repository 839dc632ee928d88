"""The baselines of the literature, read by any model of `llm`.

Its modules, in reading order:

- `reading`: what fits before a question, and what an answer took
- `systems`: VanillaRAG as published, long context, and the next two
- `graphrag_local`: GraphRAG's local search
- `graphrag_global`: GraphRAG's global search
"""
