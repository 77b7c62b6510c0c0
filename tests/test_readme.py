"""The README is tested: its tables, its settings, its transcript, its commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from retrain_trigger import config
from retrain_trigger.cli import cli
from retrain_trigger.outcomes import ExitCode

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_exit_code_is_in_the_table_and_no_other() -> None:
    section = README.partition("## Exit codes")[2].partition("## config.yaml")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, flags=re.MULTILINE)] == sorted(ExitCode)


def test_every_command_is_in_the_table_and_no_other() -> None:
    section = README.partition("## Commands")[2].partition("## Exit codes")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) == sorted(cli.commands)


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_every_config_in_the_readme_loads(number: int, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(blocks("yaml")[number])
    config.load(tmp_path / "config.yaml")


def test_the_full_config_shows_every_key_with_its_default(tmp_path: Path) -> None:
    shown = max(blocks("yaml"), key=len)
    (tmp_path / "shown.yaml").write_text(shown)
    (tmp_path / "two.yaml").write_text("performance_threshold: 0.85\ndrift_threshold: 0.20\n")
    full, two = config.load(tmp_path / "shown.yaml"), config.load(tmp_path / "two.yaml")
    assert full.digest == two.digest

    def keys(model: BaseModel, prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name in type(model).model_fields:
            value = getattr(model, name)
            found |= keys(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else {prefix + name}
        return found

    def written(document: object, prefix: str = "") -> set[str]:
        if not isinstance(document, dict):
            return {prefix[:-1]}
        return {name for key, value in document.items() for name in written(value, f"{prefix}{key}.")}

    assert written(yaml.safe_load(shown)) == keys(full)


def test_a_setting_means_in_the_readme_what_it_means_in_the_schema() -> None:
    shown, schema = max(blocks("yaml"), key=len), config.Config.model_json_schema()
    sections = (schema, *schema["$defs"].values())
    meanings = {
        key.get("description", "").casefold() for each in sections for key in each.get("properties", {}).values()
    }
    comments = re.findall(r"^ *(?!model:)\w+: .*?  +# (.+)$", shown, flags=re.MULTILINE)
    assert len(comments) > 40
    assert [comment for comment in comments if f"{comment}.".casefold() not in meanings] == []


def test_the_transcript_is_what_the_command_prints() -> None:
    transcript = next(block for block in blocks("console") if "simulate" in block)
    command, _, expected = transcript.partition("\n")
    done = subprocess.run(
        [sys.executable, "-m", "retrain_trigger", *command.split()[2:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == expected


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^\$ make ([\w-]+)", README, flags=re.MULTILINE)) <= targets
