"""Scenes: a project on its disk, and the command that the fault will strike in."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import invariants
from faults import Action, Change, Fault, Op, Page, changes, environment

NOW = "2026-01-23T12:00Z"
LATER = "2026-01-23T13:00Z"
CONFIG = "performance_threshold: 0.85\ntrain: {command: sh train.sh, timeout: 20s}\n"
TRAIN = """\
exec 9>>training.now
flock -n 9 || echo two >>two-trainings
echo "$RETRAIN_RUN_ID" >>trained
cp new.model "$RETRAIN_OUTPUT"
"""
PATIENCE = 60.0
"""Seconds after which a run counts as hanging."""


@dataclass(frozen=True, slots=True)
class Scene:
    """`command` meets the fault; `after` is the ordinary run that follows, which may exit with one of `codes`.

    `undisturbed` is what the command exits with when nothing strikes it.
    """

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ("run", "--now", LATER)
    codes: frozenset[int] = frozenset({0})
    undisturbed: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended: its exit code (negative: the signal), and what it said."""

    code: int
    said: str


BOOTSTRAP = Scene(
    "bootstrap",
    ("run", "--bootstrap", "--now", NOW),
    after=("run", "--bootstrap", "--now", LATER),
    codes=frozenset({0, 2}),  # 2: there is a champion already
)
FORKED = (
    BOOTSTRAP,
    Scene("breach", ("run", "--now", NOW)),
    Scene("failing", ("run", "--now", NOW), codes=frozenset({0, 5}), undisturbed=5),
    Scene("slow", ("run", "--now", NOW), after=("run", "--force", "again", "--now", LATER)),
    Scene("spoiled", ("promote", "VERSION", "--reason", "looked at", "--now", NOW), undisturbed=6),
    Scene("compared", ("run", "--now", NOW)),
    Scene("by hand", ("promote", "VERSION", "--reason", "looked at", "--now", NOW)),
    Scene("rollback", ("rollback", "--now", NOW)),
    Scene("healthy", ("run", "--now", NOW)),
)


def build(folder: Path, shim: Path, *, real: bool) -> None:
    """Make every scene's project below a folder, with the real command; `real`: also those that score models."""
    simple = folder / "simple"
    simple.mkdir(parents=True)
    for name, text in {
        "config.yaml": CONFIG,
        "train.sh": TRAIN,
        "new.model": "new " * 500,
        "old.model": "old " * 500,
    }.items():
        (simple / name).write_text(text)
    shutil.copytree(simple, folder / "bootstrap")
    command(simple, "run", "--bootstrap", "--adopt", "old.model", "--now", "2026-01-20T00:00Z")
    _log(simple, 0.9)
    shutil.copytree(simple, folder / "healthy")
    _log(simple, 0.7)
    shutil.copytree(simple, folder / "breach")
    shutil.copytree(simple, folder / "failing")
    with (folder / "failing/train.sh").open("a") as script:
        script.write("echo no data; exit 3\n")
    shutil.copytree(folder / "breach", folder / "slow")
    (folder / "slow/train.sh").write_text(TRAIN.replace("cp ", "sleep 0.2; cp "))
    command(simple, "run", "--now", "2026-01-23T00:00Z")
    version = max(path.parent.name for path in (simple / "models").glob("[!.]*/card.json"))
    shutil.copytree(simple, folder / "by hand")
    shutil.copytree(simple, folder / "spoiled")
    spoiled = folder / "spoiled/models" / version / "model.joblib"
    spoiled.chmod(0o644)
    spoiled.write_bytes(invariants.SPOILED)
    command(simple, "promote", version, "--reason", "looked at", "--now", "2026-01-23T01:00Z")
    shutil.copytree(simple, folder / "rollback")
    if real:
        _build_real(folder / "gate")
        _cut_off_compared(folder, shim)


def built(folder: Path) -> dict[str, Scene]:
    """Return the scenes whose projects are below a folder, by name."""
    found = {}
    for scene in FORKED:
        if (folder / scene.name).exists():
            version = max(
                (path.parent.name for path in (folder / scene.name / "models").glob("[!.]*/card.json")), default=""
            )
            command = tuple(version if word == "VERSION" else word for word in scene.command)
            found[scene.name] = replace(scene, command=command)
    return found


def command(project: Path, *arguments: str, code: int = 0) -> None:
    """Run the real command undisturbed. Raises AssertionError where it exits with anything but `code`."""
    done = real(project, arguments)
    assert done.code == code, f"{arguments}: exit {done.code}\n{done.said}"


def real(project: Path, arguments: tuple[str, ...], *, shim: Path | None = None, page: Page | None = None) -> Done:
    """Run the real command, under the shim where there is one, and wait for its end."""
    extra = environment(shim, page) if shim and page else {}
    inherited = {name: value for name, value in os.environ.items() if name not in {"LD_PRELOAD", "TORTURE_STATE"}}
    done = subprocess.run(
        [sys.executable, "-m", "retrain_trigger", *arguments],
        cwd=project,
        env={**inherited, **extra},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=10 * PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(errors="replace"))


class Lab:
    """A process in which the product is loaded once; each run is a fork of it, with its working folder its own."""

    def __init__(self, shim: Path, scratch: Path) -> None:
        import ctypes  # noqa: PLC0415  (loaded here only, beside the shim it speaks to)

        import retrain_trigger.controller  # noqa: PLC0415  (what each fork would load)
        import retrain_trigger.printing  # noqa: PLC0415
        from retrain_trigger import cli  # noqa: PLC0415

        self._arm = ctypes.CDLL(str(shim)).torture_arm
        self._main = cli.main
        self._said = scratch / f"said-{os.getpid()}"
        self.package = Path(retrain_trigger.controller.__file__).parent

    def start(self, project: Path, arguments: tuple[str, ...], page: Page | None = None) -> int:
        """Begin a command in a fork; return its process id."""
        child = os.fork()
        if child == 0:
            self._be_the_run(project, arguments, page)
        return child

    def run(self, project: Path, arguments: tuple[str, ...], page: Page | None = None) -> Done:
        """Run one command in a fork and wait for its end; one that hangs is killed, its code is then -14."""
        return self.wait(self.start(project, arguments, page))

    def wait(self, child: int) -> Done:
        """Wait for the end of what was started."""
        deadline = time.monotonic() + PATIENCE
        pause = 0.0005
        while True:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                break
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return Done(-signal.SIGALRM, "it hangs")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)
        return Done(os.waitstatus_to_exitcode(status), self._said.read_text(errors="replace"))

    def _be_the_run(self, project: Path, arguments: tuple[str, ...], page: Page | None) -> None:
        code = 99
        try:
            os.chdir(project)
            said = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            if page is not None:
                os.environ["TORTURE_STATE"] = str(page.path)
                self._arm(os.fsencode(page.path))
            self._main(list(arguments))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 99
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def folders(project: Path) -> list[str]:
    """Return the folders of a project, by their path relative to it."""
    return [str(Path(found).relative_to(project)) for found, _, _ in os.walk(project)]


def copy(source: Path, target: Path) -> Path:
    """Put a fresh copy of a project in a place, in the place of what was there."""
    remove(target)
    shutil.copytree(source, target, symlinks=True)
    return target


def remove(project: Path) -> None:
    """Remove a project, read-only folders and all."""
    if project.exists():
        for folder in folders(project):
            (project / folder).chmod(0o700)
        shutil.rmtree(project)


def recorded(lab: Lab, arguments: tuple[str, ...], source: Path, place: Path, page: Page) -> tuple[Done, list[Change]]:
    """Run a command in a copy of a project without a fault, and write down what it changes, in order."""
    project, log = copy(source, place), place.with_name(f"{place.name}.changes")
    log.unlink(missing_ok=True)
    page.set(project, Fault(), log=log)
    done = lab.run(project, arguments, page)
    return done, changes(log, project)


def _log(project: Path, *values: float) -> None:
    path = project / "logs/metrics.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        for value in values:
            number = sum(1 for _ in path.open())
            file.write(json.dumps({"timestamp": f"2026-01-{21 + number}T00:00:00Z", "f1": value, "n": 500}) + "\n")
            file.flush()


def _build_real(folder: Path) -> None:
    """Make a project with labelled rows, `make`, and joblib models: the champion is bad, the next one will be good."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from projects import CONFIG as GATED  # noqa: PLC0415  (the tests' own project)
    from projects import Project, write_rows  # noqa: PLC0415

    folder.mkdir()
    project = Project(folder)
    project.write("config.yaml", GATED.replace("200", "50"))
    write_rows(folder / "labelled.parquet", per_hour=4)
    project.trains("old")
    command(folder, "run", "--bootstrap", "--now", "2026-01-21T00:00Z")
    project.log(0.7, 0.7, 0.7)
    project.trains("new")
    (folder / "Makefile").write_text(
        "train-model:\n\t@exec 9>>training.now; flock -n 9 || echo two >>two-trainings; "
        f'echo "$$RETRAIN_RUN_ID" >>trained; {sys.executable} train.py new\n'
    )


def _cut_off_compared(folder: Path, shim: Path) -> None:
    """Leave the real project as a run does that is killed when it has compared, and has not begun to promote."""
    page, place = Page(folder / "page"), folder / "compared"
    copy(folder / "gate", place)
    log = folder / "changes"
    page.set(place, Fault(), log=log, claim=True)
    assert real(place, ("run", "--now", NOW), shim=shim, page=page).code == 0
    commits = [n for n, c in enumerate(changes(log, place), 1) if c.op is Op.UNLINK and c.path == invariants.JOURNAL]
    # Half-way from the commit of the verdict to that of the intent: two real runs do not make quite the same calls.
    page = Page(folder / "page-of-the-killed")
    copy(folder / "gate", place)
    page.set(place, Fault(at=(commits[3] + commits[4]) // 2, action=Action.KILL_BEFORE), claim=True)
    assert real(place, ("run", "--now", NOW), shim=shim, page=page).code == -signal.SIGKILL
    kinds = [entry["kind"] for entry in invariants.told_by(*_ledger(place)).unfinished()]
    assert kinds == ["training", "sealed", "compared"], kinds
    elsewhere = copy(place, folder / "elsewhere")
    done = real(elsewhere, ("run", "--now", NOW))
    assert done.said.count("promoted:") == 1, f"what was compared is not promoted in a copy: {done.said}"
    remove(elsewhere)


def _ledger(project: Path) -> tuple[bytes | None, bytes]:
    files = invariants.tree(project)
    return files.get(invariants.LEDGER), files.get(invariants.JOURNAL, b"")
