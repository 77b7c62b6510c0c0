"""How the projects beside this file were made: by earlier versions of retrain-check, cut off after an entry of a kind.

    python tests/golden/make.py CHECKOUT NAME

CHECKOUT is a working tree of the earlier version, NAME what its projects are called: the commit.
"""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from projects import CONFIG, CUT_OFF, Project, write_rows

NOW = "2026-01-23T12:00Z"
PLAIN = ("training", "sealed", "compared", "promoting", "promoted")
REFITTED = ("training", "sealed", "selected", "refitting", "compared", "promoting", "promoted")


def main(checkout: Path, name: str) -> None:
    """Make one project for each kind of entry after which a run may be cut off."""
    with tempfile.TemporaryDirectory() as folder:
        gated = Project(Path(folder, "gated"))
        _begin(gated, checkout)
        for kind in PLAIN:
            _keep(_cut(gated, checkout, kind), f"{name}-{kind}")
        alone = Project(Path(folder, "alone"))
        shutil.copytree(gated.folder, alone.folder)
        alone.write("config.yaml", "performance_threshold: 0.85\n")
        _keep(_cut(alone, checkout, "sealed"), f"{name}-alone-sealed")
        if (checkout / "retrain_trigger/holdouts.py").exists():
            gated.write("config.yaml", _settings(", out_of_time: 2"))
            for kind in REFITTED:
                _keep(_cut(gated, checkout, kind), f"{name}-refitted-{kind}")


def _settings(more: str = "") -> str:
    return CONFIG.replace("decide_on: holdout, min_rows: 200", f"min_rows: 50{more}").replace(", windows: [all]", "")


def _begin(project: Project, checkout: Path) -> None:
    project.folder.mkdir()
    project.write("config.yaml", _settings())
    write_rows(project.folder / "labelled.parquet", per_hour=4)
    project.trains("old")
    _run(checkout, project, "-m", "retrain_trigger", "run", "--bootstrap", "--now", "2026-01-21T00:00Z")
    project.log(0.7, 0.7, 0.7)
    project.trains("new")
    project.write("Makefile", (project.folder / "Makefile").read_text().replace(sys.executable, "$(PYTHON)"))


def _cut(source: Project, checkout: Path, kind: str) -> Project:
    project = Project(source.folder.with_name("project"))
    shutil.rmtree(project.folder, ignore_errors=True)
    shutil.copytree(source.folder, project.folder)
    _run(checkout, project, "-c", CUT_OFF, kind, "run", "--now", NOW, code=-signal.SIGKILL)
    return project


def _run(checkout: Path, project: Project, *arguments: str, code: int = 0) -> None:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHON": sys.executable}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr


def _keep(project: Project, name: str) -> None:
    """Pack what the program had written, and the config; the rest is the same in each of them."""
    with tarfile.open(Path(__file__).with_name(f"{name}.tar.xz"), "w:xz") as packed:
        for part in ("config.yaml", ".retrain-check", "models"):
            packed.add(project.folder / part, part, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
