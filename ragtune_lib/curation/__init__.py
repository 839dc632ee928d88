"""What a person says about synthetic pairs: shown, decided, counted, carried in and out.

Its modules, in reading order:

- `marks`: what to mark in a pair and in its source
- `neighbourhood`: the small graph around a pair's entity
- `card`: one pair beside its source
"""
