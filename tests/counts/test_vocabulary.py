import pytest

from retrain_trigger.counts.vocabulary import agreed


@pytest.mark.parametrize(
    ("said", "labels", "meant"),
    [
        ({"Yes", "No"}, {"yes", "no"}, {"yes": "Yes", "no": "No"}),
        ({"1.0", "0.0"}, {"1", "0"}, {"1": "1.0", "0": "0.0"}),
        ({"Yes", "YES"}, {"yes"}, {}),  # either may be meant
        ({"Yes", "No"}, {"yes", "YES"}, {"YES": "Yes"}),  # one of them only
        ({"yes", "no"}, {"yes", "No"}, {"No": "no"}),
        ({"0.9", "0.2"}, {"1", "0"}, {}),
    ],
)
def test_words_are_matched_if_only_one_fits(said: set[str], labels: set[str], meant: dict[str, str]) -> None:
    assert agreed(said, labels, None).meant == meant


@pytest.mark.parametrize(
    ("said", "labels", "apart"),
    [
        ({"0.9", "0.2"}, {"1", "0"}, True),
        ({"0"}, {"1"}, False),  # few rows: the other words may come still
        ({"yes", "no"}, {"YES"}, False),
        (set[str](), {"1", "0"}, False),
    ],
)
def test_vocabularies_without_a_common_word_are_apart(said: set[str], labels: set[str], *, apart: bool) -> None:
    assert agreed(said, labels, None).apart is apart


def test_words_that_are_no_class_of_the_model_are_odd_and_empty_ones_no_word() -> None:
    found = agreed({"1", "TRUE", "maybe"}, {"0.0", "none"}, ["0", "1"])
    assert (found.read("0.0"), found.read("none"), found.read("1")) == ("0", None, "1")
    assert found.odd == {"TRUE", "maybe"}
