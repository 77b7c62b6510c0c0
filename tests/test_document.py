import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.document import BROKEN, DEEPEST, MOST, Mistake, Node, Place, parse, quoted


def read(text: str) -> tuple[Node | None, list[str]]:
    node, mistakes = parse(text, lambda line, column: Place(line, column, f"{line}:{column}"))
    return node, [str(mistake) for mistake in mistakes]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("1_000", 1000),
        ("0.20", 0.2),
        (".5", 0.5),
        ("1.5e-3", 0.0015),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("y", "y"),
        ("7d", "7d"),
        ("20%", "20%"),
        ("2 of 3", "2 of 3"),
        ('"no"', "no"),
        ("'12:30'", "12:30"),
        ('"1e-3"', "1e-3"),
        ("http://x:80/", "http://x:80/"),
        ("[1, two]", [1, "two"]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_values_read_as_they_look(written: str, value: object) -> None:
    node, mistakes = read(f"key: {written}")
    assert node is not None
    assert (node.plain(), mistakes) == ({"key": value}, [])
    assert type(node.value["key"].plain()) is type(value)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("a: no", '1:4: YAML reads `no` as false; write false, or "no" in quotes'),
        ("a: [1, ON]", '1:8: YAML reads `ON` as true; write true, or "ON" in quotes'),
        (
            "a: 12:30",
            '1:4: YAML reads `12:30` as a number in base 60; write a duration with its unit (45m, 24h), or "12:30" in quotes',
        ),
        ("a: 1e-3", "1:4: YAML reads `1e-3` as text; write 0.001"),
        ("a: 2.5e3", "1:4: YAML reads `2.5e3` as text; write 2500"),
        ("a: 1e999999999", "1:4: YAML reads `1e999999999` as text; write it without an exponent"),
        ("a: 010", '1:4: YAML does not read `010` as a decimal number; write it in decimal, or "010" in quotes'),
        ("a: 0x1F", '1:4: YAML does not read `0x1F` as a decimal number; write it in decimal, or "0x1F" in quotes'),
        ("a: 2026-01-02", '1:4: YAML reads `2026-01-02` as a date; write "2026-01-02" in quotes'),
        ("a: .NaN", '1:4: `.NaN` is never a number here; write a finite number, or ".NaN" in quotes'),
        ("a: 1.0e+999", '1:4: `1.0e+999` is never a number here; write a finite number, or "1.0e+999" in quotes'),
        (f"a: {'9' * 50}", f"1:4: `{'9' * 50}` is a number of 50 characters; write a shorter one, or text in quotes"),
        ("b: *a", "1:4: `*a` is an alias; write the value itself"),
        ("b: &a 1", "1:4: `&a` is an anchor, which nothing may refer to; delete it"),
        ("x:\n  <<: *a", "2:3: `<<` merges keys from elsewhere; write them out"),
        ("a: 1\nb: 2\na: 3", "3:1: `a` stands twice, first on line 1; keep one"),
        ("? [a]\n: 1", "1:3: a key must be one word; write `key: value`"),
        ("a: !!str 1", "1:4: a YAML tag stands here; write the value alone, in quotes where it is text"),
        ('a: "\\0"', "1:4: the text holds the character '\\x00'; leave it out"),
        ("a: 1\n---\nb: 2", "2:1: a second document starts here; keep one"),
    ],
)
def test_a_surprise_is_one_located_mistake_and_reading_goes_on(text: str, mistake: str) -> None:
    node, mistakes = read(text)
    assert mistakes == [mistake]
    assert node is not None


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("a: b: c", "1:5: a second `:` or a key out of line; align it with the keys above, or put the text in quotes"),
        ("a: 1\nb\n", "2:1: this line has no `:`; write `key: value`"),
        ("a: 1\nb: 'x\n", "2:4: this quote is never closed; close it on the same line"),
        ("a: 'it's'", "1:8: text stands after a closed quote; put all of it in one pair of quotes"),
        ("x:\n  y: 1\n z: 2", "3:2: this line is aligned with nothing above it; indent it like its neighbours"),
        ("a: [1", "1:6: a bracket is not closed, or a comma is missing or too many; mend it"),
        ("a: @x", "1:4: text cannot begin with this character; put it in quotes"),
        ("a: 1\t# x", "1:5: a tab stands here; write spaces"),
        ("a: \x07", "1:4: the control character '\\x07' stands here; delete it"),
        ('a: "\\UFFFFFFFF"', "1:7: an escape or a version number here is beyond all bounds; delete it"),
        (f"%YAML {'1' * 5000}.1", "1:7: an escape or a version number here is beyond all bounds; delete it"),
        ("[" * 100_000, f"1:{DEEPEST + 2}: this is nested deeper than {DEEPEST} levels; settings have three"),
    ],
)
def test_what_is_not_yaml_is_one_located_mistake_on_one_line(text: str, mistake: str) -> None:
    assert read(text) == (None, [mistake])


def test_a_text_of_very_many_values_is_refused_early() -> None:
    node, mistakes = read("\n".join(f"k{number:04}: 1" for number in range(100_000)))
    assert node is None
    assert mistakes == [f"{MOST // 2 - 1}:8: these are more than {MOST} values; settings have about fifty"]


def test_tabs_are_named_where_they_stand_and_do_not_hide_what_follows() -> None:
    node, mistakes = read("trigger:\n  window: 1d\n\tcooldown: no\nmetric:\tf1\nstate: off\n")
    assert node is not None
    assert mistakes == [
        "3:1: a tab stands here; write spaces",
        "4:8: a tab stands here; write spaces",
        '3:12: YAML reads `no` as false; write false, or "no" in quotes',
        '5:8: YAML reads `off` as false; write false, or "off" in quotes',
    ]
    assert node.value["trigger"].value["cooldown"].value is BROKEN


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_endings_do_not_move_places(newline: str) -> None:
    node, mistakes = read(newline.join(["a: 1", "b:", "  c: no", "d:\t1"]))
    assert [mistake.split(" ")[0] for mistake in mistakes] == ["4:3:", "3:6:"]
    assert node is not None
    assert node.find(("b", "c")).place.name == "3:6"
    assert node.find(("b", "absent")).place.name == "3:3"


@given(st.text(alphabet=st.sampled_from("ab:-[]{}\"'%&*!|>\t\n 01.e#?,<\\xU~@"), max_size=60) | st.text(max_size=60))
def test_any_text_becomes_a_node_or_a_mistake(text: str) -> None:
    node, mistakes = parse(text, lambda line, column: Place(line, column, ""))
    assert node is not None or mistakes
    for mistake in mistakes:
        assert isinstance(mistake, Mistake)
        assert "\n" not in mistake.sentence
        assert (
            1
            <= mistake.place.line
            <= text.count("\n") + text.count("\r") + 2 + sum(map(text.count, "\x85\u2028\u2029"))
        )


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_decimal_is_read_exactly_or_its_exponent_named(value: float) -> None:
    node, mistakes = read(f"a: {value!r}")
    assert node is not None
    read_back = node.value["a"].value
    assert read_back is BROKEN if mistakes else read_back == value
    assert read_back is BROKEN or math.isfinite(read_back)


@given(st.text(max_size=200))
def test_what_is_quoted_fits_on_a_line(text: str) -> None:
    assert quoted(text)[1:-1].isprintable()
    assert "\n" not in quoted(text)
