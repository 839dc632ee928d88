import math

import pytest

from ragtune_lib.graph.extraction_score import score_names


def test_precision_recall_and_f1_count_each_name_once_per_text():
    found = [["Ilse", "ilse", "Bremen", "Boat"], ["Ilse", "Oslo"]]
    gold = [[("Ilse",), ("Bremen",), ("Tomas",)], [("Oslo",), ("Ada",)]]
    score = score_names(found, gold)
    assert (score.right, score.found, score.recalled, score.demanded) == (3, 5, 3, 5)
    assert (score.precision, score.recall, score.f1) == pytest.approx((0.6, 0.6, 0.6))
    assert score.wrong == (("boat", 1), ("ilse", 1))
    assert score.missed == (("ada", 1), ("tomas", 1))


def test_one_accepted_wording_is_enough_and_each_is_right():
    gold = [[("President Barack Obama", "Barack Obama")]]
    score = score_names([["the Barack Obama"]], gold)
    assert (score.precision, score.recall) == (1.0, 1.0)
    both = score_names([["Barack Obama", "President Barack Obama"]], gold)
    assert (both.right, both.found, both.recalled, both.demanded) == (2, 2, 1, 1)
    assert score_names([[]], gold).missed == (("president barack obama", 1),)


def test_allowed_names_are_right_and_not_demanded():
    score = score_names([["Nobel"]], [[("Nobel Peace Prize",)]], [["Nobel"]])
    assert (score.precision, score.recall) == (1.0, 0.0)
    assert score_names([["Nobel Peace Prize"]], [[("Nobel Peace Prize",)]], [["Nobel"]]).recall == 1.0


def test_nothing_found_or_nothing_demanded_gives_no_number():
    nothing = score_names([[]], [[("Ilse",)]])
    assert math.isnan(nothing.precision)
    assert (nothing.recall, nothing.f1) == (0.0, 0.0)
    assert math.isnan(score_names([["Ilse"]], [[]]).recall)
    assert score_names([], []).f1 == 0.0


def test_texts_must_correspond():
    with pytest.raises(ValueError, match="zip"):
        score_names([[]], [[], []])
