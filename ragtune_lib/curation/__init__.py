"""Deciding about pairs: what the state in `curate.Curation` is made of, what goes beyond it, and how it is shown.

Its modules, in reading order; the state first, none of it with widgets:

- `events`: the files of the people who decide, their merged order, and what counts when they differ
- `queues`: which pairs to look at, and in which order
- `walk`: going through such a list, back to what was passed over
- `second_pass`: a blind second opinion, agreement, adjudication, and the error rate of what nobody looked at
- `exports`: kept pairs and preferences in the forms that training programs read
- `imports`: decisions made elsewhere: CSV, Argilla, Label Studio

What is shown of it, as HTML:

- `marks`: what to mark in a pair and in its source
- `neighbourhood`: the small graph around a pair's entity
- `card`: one pair beside its source
- `decision_table`: how the review stands, in words and as a table

Parts of the panel, made of ipywidgets:

- `filter_row`: the lists that say which pairs to look at
- `editor`: changing a wording in place
- `drawers`: history, decisions about many pairs, guidelines
- `quality`: the drawer around `second_pass`
"""
