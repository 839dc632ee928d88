"""Going through a list of pairs: where one is, what comes next, and back to what was passed over."""

from __future__ import annotations

from collections.abc import Sequence

from ragtune_lib.curate import Curation
from ragtune_lib.curation.events import DECIDING


class Walk:
    """A list of ids with a place in it; nothing here goes through the whole list but the search for the last open ones.

    Args:
        curation: says what is decided.
        ids: the list, in order.
        through: whether decided pairs are gone through as well, as in a list of dropped ones, or passed over.
    """

    def __init__(self, curation: Curation, ids: Sequence[str] = (), through: bool = False):
        self.curation, self.ids, self.through = curation, ids, through
        self.place = -1  # of what was shown last; before it while a pair outside of the list is shown
        self.outside = False

    def onward(self) -> str | None:
        """The next pair to decide; after the last one the first that was passed over; None when there is none."""
        self.outside = False
        after = range(self.place + 1, len(self.ids))
        before = range(0) if self.through else range(min(self.place + 1, len(self.ids)))
        for places in (after, before):
            for place in places:
                if self.through or self.curation.state(self.ids[place]) not in DECIDING:
                    self.place = place
                    return self.ids[place]
        return None

    def step(self, by: int) -> str | None:
        """The pair before (-1) or after (1), whatever its state; stops at the ends. None in an empty list."""
        if not self.ids:
            return None
        by = 0 if self.outside and by < 0 else by
        self.outside = False
        self.place = min(max(self.place + by, 0), len(self.ids) - 1)
        return self.ids[self.place]

    def visit(self, pair_id: str) -> None:
        """Be where a pair is; from a pair outside of the list the way on leads back to what was shown before."""
        if self.ids[self.place : self.place + 1] == [pair_id] and not self.outside:
            return
        if pair_id in self.ids:
            self.place, self.outside = self.ids.index(pair_id), False
        elif not self.outside:
            self.place, self.outside = max(self.place - 1, -1), True
