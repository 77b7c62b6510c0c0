"""Write the tables of docs/reference from the code that they describe: `make docs`."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from retrain_trigger.cli.commands import cli
from retrain_trigger.config.load import Config
from retrain_trigger.core.outcomes import ExitCode
from retrain_trigger.judge import metrics, rules
from retrain_trigger.judge.gates import gates
from retrain_trigger.logs import formats

REFERENCE = Path(__file__).parent / "reference"


def main() -> None:
    """Write every page again; say which ones have changed."""
    for page in sorted(REFERENCE.glob("*.md")):
        before = page.read_text()
        after = filled(before)
        if after != before:
            page.write_text(after)
            print(f"wrote {page}")


def filled(page: str) -> str:
    """Return a page with each table between its two marks made anew."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", page)


def settings() -> str:
    """Return a table for the keys at the top level, and one for each section."""
    schema = Config.model_json_schema()
    return "\n\n".join(_sections(schema, schema, ""))


def commands() -> str:
    """Return a part for each command: what it does, and its own options."""
    context = click.Context(cli, info_name="retrain-check")
    parts = []
    for name in cli.list_commands(context):
        command = cli.commands[name]
        usage = " ".join([f"retrain-check {name}", *_arguments(command)])
        own = [_option(each) for each in command.params if isinstance(each, click.Option) and each.name not in _SHARED]
        parts += [
            f"### `{usage}`",
            _unwrapped(command.help or ""),
            *([_table(("option", "meaning"), own)] if own else []),
        ]
    return "\n\n".join(parts)


def common_options() -> str:
    """Return the options that every command takes."""
    shared = [each for each in cli.commands["status"].params if isinstance(each, click.Option) and each.name in _SHARED]
    return _table(("option", "meaning"), [_option(each) for each in shared])


def exit_codes() -> str:
    """Return what each exit code means."""
    return _table(("code", "meaning"), [(str(int(code)), code.meaning) for code in ExitCode])


def metric_table() -> str:
    """Return the metrics that counts give."""
    rows = [
        (
            f"`{name}`",
            _first_sentence(metric.of, metrics).removeprefix("Return ").removesuffix("."),
            "lower" if metric.lower_is_better else "higher",
            "tp, fp, fn, tn" if metric.ratio else "the confusion table",
        )
        for name, metric in metrics.METRICS.items()
    ]
    return _table(("metric", "is", "better when", "sequential evidence needs"), rows)


def gate_table() -> str:
    """Return what each gate asks of a challenger."""
    return _functions("gate", "what it does", gates.GATES, gates)


def rule_table() -> str:
    """Return what each rule refuses."""
    return _functions("rule", "what it does", rules.RULES, rules)


def format_table() -> str:
    """Return the forms that a metrics log may have."""
    return _functions("format", "what is read", formats.FORMATS, formats)


def _sections(schema: Mapping[str, Any], section: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Yield the table of a section, then those of the sections in it."""
    below = {name: found for name, key in section["properties"].items() if (found := _section(schema, key))}
    rows = [
        (f"`{prefix}{name}`", _allowed(key), _default(key, needed=name in section.get("required", ())), _cell(key))
        for name, key in section["properties"].items()
        if name not in below or _is_optional(key)
    ]
    if rows:
        title = [f"### {prefix[:-1]}", section.get("description", "").partition("\n")[0]] if prefix else []
        yield "\n\n".join([*title, _table(("key", "value", "default", "meaning"), rows)])
    for name, found in below.items():
        yield from _sections(schema, found, f"{prefix}{name}.")


def _section(schema: Mapping[str, Any], key: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the section that a key holds, None where it holds a value."""
    references = (each["$ref"] for each in (key, *key.get("anyOf", ()), *key.get("allOf", ())) if "$ref" in each)
    name = next(references, "").rpartition("/")[2]
    found: Mapping[str, Any] | None = schema["$defs"].get(name)
    return found if found and "properties" in found else None


def _is_optional(key: Mapping[str, Any]) -> bool:
    return {"type": "null"} in key.get("anyOf", ())


def _allowed(key: Mapping[str, Any]) -> str:
    """Say what a key may hold.

    >>> _allowed({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, {"type": "null"}]})
    'number above 0, at most 0.5; or null'
    >>> _allowed({"enum": ["warn", "block"]})
    '`warn`, `block`'
    """
    if "$ref" in key:
        return "keys below"
    if "anyOf" in key:
        return "; or ".join(dict.fromkeys(map(_allowed, key["anyOf"])))
    if "enum" in key:
        return ", ".join(f"`{value}`" for value in key["enum"])
    if isinstance(key["type"], list):
        return "; or ".join(_plain({"type": kind}) for kind in key["type"])
    if key["type"] == "array":
        return f"list of {_allowed(key['items'])}"
    return _plain(key)


def _plain(key: Mapping[str, Any]) -> str:
    if "pattern" in key:
        return next(words for sample, words in _WRITTEN.items() if re.fullmatch(key["pattern"], sample))
    kind = _KINDS.get(key["type"], key["type"])
    bounds = ", ".join(f"{words} {key[name]:g}" for name, words in _BOUNDS.items() if abs(key.get(name, _MOST)) < _MOST)
    return f"{kind} {bounds}".strip()


def _default(key: Mapping[str, Any], *, needed: bool) -> str:
    if needed:
        return "required"
    value = key.get("default")
    if isinstance(value, list):
        return f"`[{', '.join(value)}]`"
    return "`null`" if value is None else f"`{value}`"


def _cell(key: Mapping[str, Any]) -> str:
    return " ".join(key.get("description", "").split())


def _functions(noun: str, what: str, table: Mapping[str, Callable[..., Any]], module: ModuleType) -> str:
    return _table((noun, what), [(f"`{name}`", _first_sentence(each, module)) for name, each in table.items()])


def _first_sentence(function: Callable[..., Any], module: ModuleType) -> str:
    """Return the first line of a docstring, the module's constants in it as their values."""

    def value(name: re.Match[str]) -> str:
        found = getattr(module, name[0], name[0])
        return f"{found * 100:g} %" if isinstance(found, float) and found < 1 else str(found).removesuffix(".0")

    return re.sub(r"\b[A-Z]+_?[A-Z_]+\b", value, (inspect.getdoc(function) or "").partition("\n")[0])


def _arguments(command: click.Command) -> list[str]:
    named = (each for each in command.params if isinstance(each, click.Argument))
    names = ((each.metavar or str(each.name).upper(), each.required) for each in named)
    return [name if needed or name.startswith("[") else f"[{name}]" for name, needed in names]


def _option(option: click.Option) -> tuple[str, str]:
    written = ", ".join(option.opts)
    if not option.is_flag:
        choices = option.type.choices if isinstance(option.type, click.Choice) else None
        written += " " + ("|".join(map(str, choices)) if choices else option.metavar or option.type.name.upper())
    return f"`{written}`", (option.help or "") + (" Required." if option.required else "")


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "common options": common_options,
    "exit codes": exit_codes,
    "metrics": metric_table,
    "gates": gate_table,
    "rules": rule_table,
    "formats": format_table,
}
_SHARED = frozenset({"path", "form", "quiet", "verbose"})
_TABLE = re.compile(r"(<!-- generated: ([a-z ]+) -->)\n.*?(<!-- end -->)", re.DOTALL)
_KINDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}
_MOST = 1_000_000_000
_BOUNDS = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "under", "maximum": "at most"}
_WRITTEN = {
    "all": "duration, or `all`",
    "auto": "duration, or `auto`",
    "24h": "duration",
    "20%": "percent",
    "2 of 3": "count such as `2 of 3`",
    "4 per 30d": "rate such as `4 per 30d`",
}
"""What a text may be, by a sample that fits its pattern."""

if __name__ == "__main__":
    main()
