"""How many of the names in a text an extractor finds, whatever it is: rules, a model behind an endpoint, a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ragtune_lib.text import normalize


@dataclass(frozen=True, slots=True)
class NameScore:
    """Precision, recall and F1 over distinct names per text, all texts taken together (micro average)."""

    right: int  # found names that are names
    found: int
    recalled: int  # demanded names that were found
    demanded: int
    wrong: tuple[tuple[str, int], ...]  # found but no names, most frequent first, with the number of texts
    missed: tuple[tuple[str, int], ...]  # likewise for demanded names that were not found

    @property
    def precision(self) -> float:
        """Share of the found names that are names, in [0, 1]; nan if nothing was found."""
        return self.right / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        """Share of the demanded names that were found, in [0, 1]; nan if none is demanded."""
        return self.recalled / self.demanded if self.demanded else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of both, in [0, 1]; 0 if nothing was found or none is demanded."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total > 0 else 0.0


def score_names(
    found: Sequence[Iterable[str]],
    demanded: Sequence[Iterable[Sequence[str]]],
    allowed: Sequence[Iterable[str]] = (),
) -> NameScore:
    """Compare the names found in each text with the names that are in it.

    Names are compared after `text.normalize` and without a leading "the"; each counts once per text.

    Args:
        found: names per text, by any extractor.
        demanded: per text, the names that should be found, each with its accepted wordings, the best first
            ("President Barack Obama", "Barack Obama"). One of them is enough, and each of them is right.
        allowed: per text, further names that are right when found and not missed when not; none by default.

    Returns:
        The score, with what was wrong and what was missed.

    Raises:
        ValueError: if the three speak of different numbers of texts.
    """
    counts: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for names, gold, more in zip(found, demanded, allowed or [()] * len(demanded), strict=True):
        seen = _distinct(names)
        wanted = {wordings[0]: set(wordings) for one in gold if (wordings := list(_distinct(one)))}
        right = set(_distinct(more)).union(*wanted.values())
        lost = [name for name, wordings in wanted.items() if not wordings & set(seen)]
        counts.update(right=len(right & set(seen)), found=len(seen), demanded=len(wanted))
        counts.update(recalled=len(wanted) - len(lost))
        wrong.update(set(seen) - right)
        missed.update(lost)
    order = [tuple(sorted(kind.items(), key=lambda item: (-item[1], item[0]))) for kind in (wrong, missed)]
    return NameScore(counts["right"], counts["found"], counts["recalled"], counts["demanded"], *order)


def _distinct(names: Iterable[str]) -> dict[str, None]:
    """Comparable forms of names, in order, each once."""
    forms = (normalize(name).removeprefix("the ") for name in names)
    return {form: None for form in forms if form not in ("", "the")}
