"""Deciding about pairs, without widgets: what the state in `curate.Curation` is made of, and what goes beyond it.

Its modules, in reading order:

- `events`: the files of the people who decide, their merged order, and what counts when they differ
- `queues`: which pairs to look at, and in which order
- `second_pass`: a blind second opinion, agreement, adjudication, and the error rate of what nobody looked at
- `exports`: kept pairs and preferences in the forms that training programs read
- `imports`: decisions made elsewhere: CSV, Argilla, Label Studio
"""
