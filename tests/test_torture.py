"""A slice of `make torture`, and that no deliberate omission has gone stale."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TORTURE = Path(__file__).parents[1] / "torture"

needs_gcc = pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux", reason="the shim is C, for Linux"
)


def torture(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(TORTURE), "--lanes", "1", *arguments],
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@needs_gcc
def test_killed_starved_or_cut_off_anywhere_it_loses_nothing() -> None:
    said = torture("--scale", "0.004", "--only", "power,pairs,clocks,errors,kills")
    rows = {name.strip(): int(count.replace(",", "")) for _, name, count, *_ in map(split, said.splitlines()[2:-1])}
    assert rows["power-loss states"] > 300
    assert rows["kill points"] > 5
    assert rows["injected errors"] > 2
    assert {"recovered after power loss", "overlapping pairs", "clock schedules"} <= set(rows)


@needs_gcc
def test_an_omission_is_found() -> None:
    assert "| omissions found | 1 |" in torture("--scale", "0.001", "--only", "mutants")


def test_every_omission_can_still_be_planted(tmp_path: Path) -> None:
    mutants = loaded("mutants")
    assert len(mutants.MUTANTS) >= 12
    for number, mutant in enumerate(mutants.MUTANTS):
        package = mutants.planted(mutant, tmp_path / str(number))
        for name, _, _ in mutant.patches:
            compile((package / name).read_text(), name, "exec")


def loaded(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, TORTURE / f"{name}.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def split(line: str) -> list[str]:
    return line.split("|")
