import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_trigger.config.document import DEEPEST, MOST, Mistake, Node, Place, parse, quoted


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
        ("1e-3", 0.001),
        ("2.5E3", 2500.0),
        ("010", 10),
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
    "written",
    ["no", "yes", "ON", "12:30", "2026-01-02", "0x1F", "0b1", ".NaN", "-.inf", "1e999", "9" * 50, "1e-", "=", "<<"],
)
def test_all_else_is_text(written: str) -> None:
    node, mistakes = read(f"key: {written}")
    assert node is not None
    assert (node.plain(), mistakes) == ({"key": written}, [])


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("a: 1\nb: 2\na: 3", "3:1: `a` appears twice, first on line 1; keep one"),
        ("? [a]\n: 1", "1:3: a key must be one word; write `key: value`"),
        ('a: "\\0"', "1:4: the text holds the character '\\x00'; leave it out"),
    ],
)
def test_a_mistake_in_a_value_is_located_and_reading_goes_on(text: str, mistake: str) -> None:
    node, mistakes = read(text)
    assert mistakes == [mistake]
    assert node is not None


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("a: b: c", "1:5: a second `:` or a key out of line; align it with the keys above, or put the text in quotes"),
        ("a: 1\nb\n", "2:1: this line has no `:`; write `key: value`"),
        ("a: 1\nb: 'x\n", "2:4: this quote is never closed; close it on the same line"),
        ("a: 'it's'", "1:8: there is text after the closing quote; put all of it in one pair of quotes"),
        ("x:\n  y: 1\n z: 2", "3:2: this line is aligned with nothing above it; indent it like its neighbours"),
        ("a: [1", "1:6: a bracket is not closed, or there is a comma too few or too many"),
        ("b: *a", "1:4: anchors, aliases and tags are not read; write the value itself"),
        ("b: &a 1", "1:4: anchors, aliases and tags are not read; write the value itself"),
        ("a: !!str 1", "1:4: anchors, aliases and tags are not read; write the value itself"),
        ("a: 1\n---\nb: 2", "2:1: a second document starts here; keep one"),
        ("a: @x", "1:4: text cannot begin with this character; put it in quotes"),
        ("a: 1\t# x", "1:5: there is a tab here; write spaces"),
        ("a: \x07", "1:4: the control character '\\x07' is not allowed; delete it"),
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
    assert mistakes == [f"{MOST // 2}:8: these are more than {MOST} values; settings have about fifty"]


def test_all_tabs_are_named_where_they_stand() -> None:
    node, mistakes = read("trigger:\n  window: 1d\n\tcooldown: 2h\nmetric:\tf1\nstate: [\n")
    assert node is None
    assert mistakes == ["3:1: there is a tab here; write spaces", "4:8: there is a tab here; write spaces"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_endings_do_not_move_places(newline: str) -> None:
    node, mistakes = read(newline.join(["a: 1", "b:", '  c: "\\0"', "d: 1", "d: 2"]))
    assert [mistake.split(" ")[0] for mistake in mistakes] == ["3:6:", "5:1:"]
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


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15))
def test_a_number_is_read_exactly(value: float) -> None:
    node, mistakes = read(f"a: {value!r}")
    assert node is not None
    assert (node.plain(), mistakes) == ({"a": value}, [])


@given(st.text(max_size=200))
def test_what_is_quoted_fits_on_a_line(text: str) -> None:
    assert quoted(text)[1:-1].isprintable()
    assert "\n" not in quoted(text)
