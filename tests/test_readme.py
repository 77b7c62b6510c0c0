"""README and docs are tested: their commands, settings, transcripts, tables and links."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import generate
import pandas as pd
import pytest
from projects import Project
from pydantic import BaseModel
from test_architecture import FLOORS, PACKAGE, room

from retrain_trigger.cli.commands import cli
from retrain_trigger.config import load
from retrain_trigger.core.outcomes import ExitCode, Word
from retrain_trigger.process.training import LOCK_ID

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("examples/*/README.md"))]
README = (ROOT / "README.md").read_text()
LAST_DAY = "2026-01-25T12:00Z"
"""The time that commands of the guides take for now: the tutorial's project is then half a day old."""


class Step(NamedTuple):
    command: str
    printed: str


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Return the title and the text of each block in a language."""
    return re.findall(
        rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```', page.read_text(), flags=re.DOTALL | re.MULTILINE
    )


def steps(page: str) -> Iterator[Step]:
    for block in re.findall(r"^```console\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield Step(command.partition("  #")[0].strip(), printed.rstrip())


def section(page: Path, title: str) -> str:
    return page.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


def first_column(table: str) -> list[str]:
    return re.findall(r"^\| (`[^|]+`|\d+) \|", table, flags=re.MULTILINE)


def done(project: Project, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would type it."""
    program, *arguments = shlex.split(command)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in an environment that is activated
    if program == "retrain-check":
        return project.retrain_check(*arguments, code=None, PATH=path)
    return subprocess.run(
        command,
        shell=True,
        cwd=project.folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def as_shown(printed: str) -> str:
    """Return a pattern of what a page shows: `...` stands for anything, and versions have names of their own."""
    pattern = re.escape(printed).replace(re.escape("..."), ".*")
    return re.sub(r"(\d{8}T\d{6}Z)\\-[0-9a-f]{6}", r"\1-[0-9a-f]{6}", pattern)


@pytest.fixture(scope="module")
def taken_back(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Play the tutorial, and hold what each command prints against what the page shows."""
    project = Project(tmp_path_factory.mktemp("tutorial") / "project")
    page = DOCS / "tutorial.md"
    for language in ("yaml", "make", "python"):
        for title, text in blocks(page, language):
            project.write(title, text)
    for step in steps(page.read_text()):
        if "rollback" in step.command:
            shutil.copytree(project.folder, project.folder.parent / "promoted")
        ended = done(project, step.command)
        assert ended.returncode == 0, (step.command, ended)
        assert not step.printed or re.fullmatch(
            as_shown(step.printed), (ended.stderr + ended.stdout).rstrip(), flags=re.DOTALL
        ), (step.command, ended.stderr + ended.stdout)
    return project


@pytest.fixture(scope="module")
def played(taken_back: Project) -> Project:
    """Return the project of the tutorial as it was before its challenger was rolled back."""
    return Project(taken_back.folder.parent / "promoted")


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= 150


def test_the_tutorial_ends_with_a_challenger_that_was_promoted_and_taken_back(taken_back: Project) -> None:
    promotions = [entry["by"] for entry in taken_back.history() if entry["kind"] == "promoted"]
    assert promotions == ["bootstrap", "gate", "rollback"]
    (shown,) = blocks(ROOT / "README.md", "text")
    assert set(shown[1].splitlines()) <= set((DOCS / "tutorial.md").read_text().splitlines())


def test_every_command_of_the_guides_works(played: Project, tmp_path: Path) -> None:
    guides = re.split(r"^## ", (DOCS / "how-to.md").read_text(), flags=re.MULTILINE)[1:]
    for number, guide in enumerate(guides):
        project = Project(shutil.copytree(played.folder, tmp_path / str(number)))
        version = project.pointer["previous"]
        shutil.copy(project.folder / f"models/{version}/model.joblib", project.folder / "model.joblib")
        for step in steps(guide):
            typed = step.command.replace("VERSION", version).replace("/srv/churn", str(project.folder))
            takes_now = any("--now" in option.opts for option in cli.commands[shlex.split(typed)[1]].params)
            ended = done(project, typed + (f" --now {LAST_DAY}" if takes_now else ""))
            assert ended.returncode in {0, 10}, (step.command, ended)


def test_the_set_up_of_the_readme_works(simple: Project) -> None:
    (simple.folder / "models").mkdir()
    shutil.copy(simple.has_in_production(), simple.folder / "models/in-production.joblib")
    (line,) = blocks(ROOT / "README.md", "json")
    commands = [step.command for step in steps(README) if step.command.startswith("retrain-check adopt")]
    commands += re.findall(r"&& (retrain-check .*?) \|\|", blocks(ROOT / "README.md", "cron")[0][1])
    assert len(commands) == 2
    for command in commands:
        simple.write("logs/metrics.jsonl", line[1])
        assert done(simple, f"{command} --now 2026-01-05").returncode == 0


def test_the_transcript_is_what_the_command_prints() -> None:
    (shown,) = [step for step in steps(README) if "simulate" in step.command]
    ended = done(Project(ROOT), shown.command)
    assert ended.stdout.rstrip() == shown.printed


def test_every_command_is_in_the_table_and_no_other() -> None:
    table = section(ROOT / "README.md", "Commands")
    assert sorted(name.strip("`") for name in first_column(table)) == sorted(cli.commands)


def test_every_exit_code_in_the_readme_exists() -> None:
    codes = re.findall(r"(?:: |; )(\d+) ", section(ROOT / "README.md", "What a run prints").partition("Exit codes")[2])
    assert len(codes) == 7
    assert {int(code) for code in codes} <= set(ExitCode)


def test_every_word_that_a_run_comes_to_is_in_the_table() -> None:
    table = section(DOCS / "reference/commands.md", "What a run comes to")
    words = [word.strip("`") for row in first_column(table) for word in row.split(", `")]
    assert sorted(words) == sorted(word.value for word in Word)


@pytest.mark.parametrize("page", sorted(generate.REFERENCE.glob("*.md")), ids=lambda page: page.name)
def test_the_tables_are_those_that_would_be_generated(page: Path) -> None:
    assert page.read_text() == generate.filled(page.read_text()), "run `make docs`"


def test_every_key_is_in_the_table_with_its_default() -> None:
    def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
        for name, field in model.model_fields.items():
            below: Any = field.annotation
            if isinstance(below, type) and issubclass(below, BaseModel):
                yield from keys(below, f"{prefix}{name}.")
            else:
                yield prefix + name

    table = (DOCS / "reference/config.md").read_text()
    shown = {name.strip("`") for name in first_column(table)}
    assert shown - set(keys(load.Config)) == {"cost.fp", "cost.fn", "promotion.shadow.rows", "promotion.shadow.hours"}
    assert set(keys(load.Config)) <= shown
    assert "| `trigger.cooldown` | duration | `24h` |" in table


SETTINGS = [(page, number) for page in PAGES for number in range(len(blocks(page, "yaml")))]


@pytest.mark.parametrize(("page", "number"), SETTINGS, ids=lambda each: getattr(each, "name", each))
def test_every_config_loads(page: Path, number: int, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(blocks(page, "yaml")[number][1])
    load.load(tmp_path / "config.yaml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_line_of_python_and_every_module_that_a_page_names_is_there(page: Path) -> None:
    for line in re.findall(r'`python -c "([^"`]+)"`', page.read_text()):
        subprocess.run([sys.executable, "-c", line], check=True, capture_output=True)
    rooms = "|".join(sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()))
    for name in re.findall(rf"`(?:retrain_trigger/)?((?:{rooms})/[\w/]*?)(?:\.py|/)?`", page.read_text()):
        assert (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file(), name


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:^\$ |(?<!`)`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "check", "docs", "torture"} <= named <= targets


def test_the_floors_are_those_of_the_imports() -> None:
    shown = blocks(DOCS / "architecture.md", "text")[-1][1].splitlines()
    floors = [{place[0] for word in re.findall(r"\w+", line) if (place := room(word))} for line in shown]
    assert floors == [{number} for number in range(len(FLOORS))]


def test_every_benchmark_that_is_named_exists() -> None:
    named = {name for page in PAGES for name in re.findall(r"python (benchmarks/\w+\.py)", page.read_text())}
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
            there = (page.parent / target).resolve() if target else page
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE) if anchor and there.is_file() else []
            slugs = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}
            if not there.exists() or (anchor and anchor not in slugs):
                broken.append(f"{page.name}: {target}#{anchor}")
    assert broken == []


def test_a_training_gets_the_variables_of_the_table(champion: Project) -> None:
    champion.makefile("@env > environment", "@false")
    champion.run(day=3, code=5)
    given = set(re.findall(r"^(RETRAIN_\w+)=", (champion.folder / "environment").read_text(), re.MULTILINE))
    table = section(DOCS / "reference/training.md", "The training command")
    assert given == {name.strip("`") for name in first_column(table)}
    assert LOCK_ID in given


def test_a_service_as_the_page_shows_it_works(simple: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    monkeypatch.chdir(simple.folder)
    (program,) = blocks(DOCS / "reference/serving.md", "python")
    names: dict[str, Any] = {"rows": pd.DataFrame({"age": [0.5, 0.6]})}
    exec(program[1], names)
    names["champion"].close()
    assert len(names["ids"]) == len(names["answer"].predictions) == 2


def test_the_pointer_has_the_fields_that_are_shown(bootstrapped: Project) -> None:
    (shown,) = blocks(DOCS / "reference/promotion.md", "json")
    assert set(re.findall(r'"(\w+)": ', shown[1])) == set(bootstrapped.pointer)
