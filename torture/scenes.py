"""Scenes: a project on its disk, and the command that the fault will strike in."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import invariants
import joblib
import lab
from sklearn.dummy import DummyClassifier

NOW = "2026-01-23T12:00Z"
LATER = "2026-01-23T13:00Z"
DAYS_ON = "2026-01-26T12:00Z"
DAYS_ON_LATER = "2026-01-26T13:00Z"
CONFIG = "performance_threshold: 0.85\ntrain: {command: sh train.sh, timeout: 20s}\n"
TRAIN = """\
exec 9>>training.now
flock -n 9 || echo two >>two-trainings
echo "$RETRAIN_RUN_ID" >>trained
cp new.model "$RETRAIN_OUTPUT"
"""
SHADOW = "shadow: {rows: 50, hours: 24}"
LOGGED = "logs: {predictions: logs/predictions.jsonl}\ntrigger: {min_rows: 50, evidence: point}\n"


@dataclass(frozen=True, slots=True)
class Scene:
    """`command` meets the fault; `after` is the ordinary run that follows, which may exit with one of `codes`.

    `undisturbed` is what the command exits with when nothing strikes it. `again` is how many of the points at which a
    recovery may be killed are taken: fewer where a run is long.
    """

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ("run", "--now", LATER)
    codes: frozenset[int] = frozenset({0})
    undisturbed: int = 0
    again: float = 1.0


_RUN = ("run", "--now", NOW)
_PROMOTE = ("promote", "VERSION", "--reason", "looked at", "--now", NOW)
_RUN_ON, _AFTER_ON = ("run", "--now", DAYS_ON), ("run", "--now", DAYS_ON_LATER)

BOOTSTRAP = Scene(
    "bootstrap",
    ("run", "--bootstrap", "--now", NOW),
    after=("run", "--bootstrap", "--now", LATER),
    codes=frozenset({0, 2}),  # 2: there is a champion already
)
SIMPLE = (
    BOOTSTRAP,
    Scene("breach", _RUN),
    Scene("failing", _RUN, codes=frozenset({0, 5}), undisturbed=5),
    Scene("slow", _RUN, after=("run", "--force", "again", "--now", LATER), again=0.1),
    Scene("spoiled", _PROMOTE, undisturbed=6),
    Scene("by hand", _PROMOTE),
    Scene("rollback", ("rollback", "--now", NOW)),
    Scene("healthy", _RUN),
    Scene("pruned", _RUN),
)
"""They score no models, and are made in a second."""
GATED_ONES = (
    Scene("compared", _RUN),
    Scene("asked", _RUN),
    Scene("staged", _RUN, again=0.1),
    Scene("withdrawn", ("promote", "VERSION", "--reason", "seen enough", "--now", DAYS_ON), after=_AFTER_ON, again=0.1),
    Scene("concluded", _RUN_ON, after=_AFTER_ON, again=0.1),
    Scene("judged", _RUN_ON, after=_AFTER_ON, again=0.1),
    Scene("probation", _RUN_ON, after=_AFTER_ON),
)
"""They begin where a real comparison has ended."""
REAL = (Scene("gate", _RUN), Scene("refit", _RUN))
"""They train with `make` and score models."""


def build(folder: Path, *, real: bool) -> None:
    """Make every scene's project below a folder, with the real command; `real`: also those of real comparisons."""
    simple = folder / "simple"
    simple.mkdir(parents=True)
    for name, text in {
        "config.yaml": CONFIG,
        "train.sh": TRAIN,
    }.items():
        (simple / name).write_text(text)
    for name, strategy in {"new.model": "prior", "old.model": "most_frequent"}.items():
        joblib.dump(DummyClassifier(strategy=strategy).fit([[0], [1]], [0, 1]), simple / name)
    shutil.copytree(simple, folder / "bootstrap")
    undisturbed(simple, "run", "--bootstrap", "--adopt", "old.model", "--now", "2026-01-20T00:00Z")
    _log(simple, 0.9)
    shutil.copytree(simple, folder / "healthy")
    _log(simple, 0.7)
    shutil.copytree(simple, folder / "breach")
    shutil.copytree(simple, folder / "failing")
    with (folder / "failing/train.sh").open("a") as script:
        script.write("echo no data; exit 3\n")
    shutil.copytree(folder / "breach", folder / "slow")
    (folder / "slow/train.sh").write_text(TRAIN.replace("cp ", "sleep 0.2; cp "))
    undisturbed(simple, "run", "--now", "2026-01-23T00:00Z")
    version = newest(simple)
    shutil.copytree(simple, folder / "by hand")
    shutil.copytree(simple, folder / "spoiled")
    spoiled = folder / "spoiled/models" / version / "model.joblib"
    spoiled.chmod(0o644)
    spoiled.write_bytes(invariants.SPOILED)
    undisturbed(simple, "promote", version, "--reason", "looked at", "--now", "2026-01-23T01:00Z")
    shutil.copytree(simple, folder / "rollback")
    for minute in (10, 20, 30):
        undisturbed(simple, "run", "--force", "again", "--now", f"2026-01-23T01:{minute}Z")
    (simple / "config.yaml").write_text(f"{CONFIG}model: {{keep: 1}}\n")
    shutil.copytree(simple, folder / "pruned")
    if real:
        _build_gated(folder)


def built(folder: Path) -> dict[str, Scene]:
    """Return the scenes whose projects are below a folder, by name."""
    found = {}
    for scene in (*SIMPLE, *GATED_ONES, *REAL):
        if (folder / scene.name).exists():
            version = newest(folder / scene.name)
            command = tuple(version if word == "VERSION" else word for word in scene.command)
            found[scene.name] = replace(scene, command=command)
    return found


def newest(project: Path) -> str:
    """Return the newest sealed version; nothing where there is none."""
    return max((path.parent.name for path in (project / "models").glob("[!.]*/card.json")), default="")


def undisturbed(project: Path, *arguments: str, code: int = 0) -> str:
    """Run the real command undisturbed; return what it said. Raises AssertionError where it exits with anything but `code`."""
    done = lab.real(project, arguments)
    assert done.code == code, f"{arguments}: exit {done.code}\n{done.said}"
    return done.said


def _log(project: Path, *values: float) -> None:
    path = project / "logs/metrics.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        for value in values:
            number = sum(1 for _ in path.open())
            file.write(json.dumps({"timestamp": f"2026-01-{21 + number}T00:00:00Z", "f1": value, "n": 500}) + "\n")
            file.flush()


def _build_gated(folder: Path) -> None:
    """Make the projects with labelled rows, `make`, and joblib models: the champion is bad, the next one will be good."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import projects  # noqa: PLC0415  (the tests' own project; it loads what a run of the simple path never does)

    gate = folder / "gate"
    gate.mkdir()
    project = projects.Project(gate)
    settings = project.write("config.yaml", projects.CONFIG.replace("200", "50")).read_text()
    projects.write_rows(gate / "labelled.parquet", per_hour=4)
    project.trains("old")
    undisturbed(gate, "run", "--bootstrap", "--now", "2026-01-21T00:00Z")
    project.log(0.7, 0.7, 0.7, tp=105, fp=45, fn=45, tn=305)
    project.trains("new")
    (gate / "Makefile").write_text(
        "train-model:\n\t@exec 9>>training.now; flock -n 9 || echo two >>two-trainings; "
        f'echo "$$RETRAIN_RUN_ID" >>trained; {sys.executable} train.py new\n'
    )

    def varied(name: str, promotion: str, more: str = "", *, decide: str = "holdout") -> Path:
        place = lab.copy(gate, folder / name)
        chosen = settings.replace("min_rows: 50", f"min_rows: 50{promotion}").replace(": holdout", f": {decide}")
        (place / "config.yaml").write_text(chosen + more)
        return place

    _cut_off(varied("compared", ""), "compared", promise="promoted: ")
    _cut_off(varied("asked", ", mode: ask"), "compared", promise="waits for approval")
    _cut_off(varied("refit", "", decide="newest"), "selected", promise="promoted: ")
    probation = varied("probation", ", probation: 7d")
    undisturbed(probation, *_RUN)
    projects.Project(probation).log(0.3, 0.3, since=projects.day(3), tp=45, fp=105, fn=105, tn=245)
    staged = varied("staged", f", {SHADOW}", LOGGED)
    _serve(staged, 0, 1, 2)
    _cut_off(staged, "compared", promise="in shadow: ")
    concluded = lab.copy(staged, folder / "concluded")
    undisturbed(concluded, *_RUN)
    lab.copy(concluded, folder / "withdrawn")
    _serve(concluded, 3, 4)
    _cut_off(lab.copy(concluded, folder / "judged"), "compared", promise="promoted: ", command=_RUN_ON)


def _cut_off(project: Path, kind: str, *, promise: str, command: tuple[str, ...] = _RUN) -> None:
    """Leave a project as a run does that is killed when it has written an entry of a kind; a later run must keep the promise."""
    import projects  # noqa: PLC0415  (as above)

    done = subprocess.run(
        [sys.executable, "-c", projects.CUT_OFF, kind, *command], cwd=project, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    elsewhere = lab.copy(project, project.with_name("elsewhere"))
    said = undisturbed(elsewhere, *command)
    assert promise in said, f"what was cut off is not gone on with in a copy: {said}"
    lab.remove(elsewhere)


def _serve(project: Path, *days: int) -> None:
    """Log what a service answered on days after the break: `old`, and where a challenger is named, what that says, too."""
    import duckdb  # noqa: PLC0415  (as above)
    import projects  # noqa: PLC0415

    staged = project / "models/challenger.json"
    challenger = json.loads(staged.read_text())["version"] if staged.exists() else None
    duckdb.sql("SET TimeZone = 'UTC'")
    for number in days:
        rows = duckdb.sql(
            "SELECT strftime(timestamp::TIMESTAMP, '%Y-%m-%dT%H:%M:%SZ') AS timestamp, id, old AS prediction, "
            f"new AS shadow_prediction, label FROM '{project}/labelled.parquet' WHERE "
            f"timestamp::TIMESTAMP::DATE = DATE '{projects.day(number):%Y-%m-%d}'"
        )
        lines = (dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall())
        with (project / "logs/predictions.jsonl").open("a") as file:
            for line in lines:
                said = line if challenger else {k: v for k, v in line.items() if k != "shadow_prediction"}
                file.write(json.dumps({**said, **({"shadow_model": challenger} if challenger else {})}) + "\n")
