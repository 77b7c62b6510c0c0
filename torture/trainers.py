"""A zoo of bad trainers: the champion stays, the exit code is of the contract, no process is left, the next run works.

Run as `python torture/trainers.py [--number N] [--seed S] [NAME ...]`; exits with 1 where anything went wrong.
"""

import hashlib
import subprocess
import sys
from typing import Any, NamedTuple

import zoo
from projects import CONFIG, Project

GOOD = f"{sys.executable} train.py new"
LARGEST_LOG = 10 << 20
"""Bytes that the log of a training may have, however much it printed."""


class Animal(NamedTuple):
    """A trainer: a shell script, the exit codes allowed, and what the run must say.

    `good` says that what it leaves is a better model, which may be promoted. `timeout` is of `train.timeout`. `later`
    are the exit codes of the next run, when the trainer is a good one again; `spoils` says that the trainer itself
    changed the pointer or the champion; `small_disk` that it is to meet one.
    """

    script: str
    codes: frozenset[int] = frozenset({5})
    says: str = ""
    good: bool = False
    timeout: str = "60s"
    later: frozenset[int] = frozenset({0})
    spoils: bool = False
    small_disk: bool = False


def run(**chosen: Any) -> tuple[int, list[str]]:
    """Meet some or all of them, as `zoo.run` does."""
    return zoo.run(TRAINERS, met, **chosen)


def met(project: Project, animal: Animal) -> list[str] | None:
    """Let a run train with one trainer; return what was not as it must be, None where it cannot be met here."""
    if not animal.small_disk:
        return _met(project, animal)
    if not _small_disk(project):
        return None
    try:
        return _met(project, animal)
    finally:
        subprocess.run(["umount", str(project.folder / ".retrain-check")], check=False)


def _met(project: Project, animal: Animal) -> list[str]:
    project.write("config.yaml", f"{CONFIG}train: {{command: sh train.sh, timeout: {animal.timeout}}}\n")
    project.write("train.sh", animal.script + "\n")
    pointer, model = project.pointer, _champion(project)
    code, said = zoo.tick(project, day=4)
    wrong = []
    if code not in animal.codes:
        wrong.append(f"exit {code}, not one of {sorted(animal.codes)}: {said[-600:]}")
    if "Traceback" in said or "\x1b" in said:
        wrong.append(f"a traceback or a control character reached the person: {said[-600:]!r}")
    if animal.says not in said:
        wrong.append(f"{animal.says!r} was not said, but: {said[-600:]}")
    if not animal.good and not animal.spoils and (project.pointer != pointer or _champion(project) != model):
        wrong.append(f"the champion is not what it was: {said[-600:]}")
    if living := zoo.left_alive(project):
        wrong.append(f"processes are left: {living}")
    logs = [path for path in project.folder.rglob("train.log") if path.stat().st_size > LARGEST_LOG]
    wrong += [f"{path} has {path.stat().st_size} bytes" for path in logs]
    project.write("train.sh", GOOD)
    code, said = zoo.tick(project, day=4.5)
    if code not in animal.later:
        wrong.append(f"the next run: exit {code}, not one of {sorted(animal.later)}: {said[-600:]}")
    return wrong + [f"left lying about: {name}" for name in zoo.untidy(project)]


def _champion(project: Project) -> str:
    model = project.folder / "models" / project.pointer["path"]
    return hashlib.sha256(model.read_bytes()).hexdigest() if model.exists() else ""


def _small_disk(project: Project) -> bool:
    """Put the state folder on a disk of 6 MB, where this machine allows it."""
    state = project.folder / ".retrain-check"
    kept = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(state)], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        for path, content in kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return mounted.returncode == 0


def _python(code: str) -> str:
    return f"{sys.executable} - <<'END'\n{code}\nEND"


BETTER = frozenset({0})
MISSED = frozenset({6})
TRAINERS: dict[str, Animal] = {
    "exit_1": Animal("echo no rows >&2; exit 1", says="no rows"),
    "exit_75": Animal("exit 75", says="exited with 75"),
    "exit_255": Animal("exit 255"),
    "not_found": Animal("exec /nowhere/train", says="exited with 127"),
    "segmentation_fault": Animal("kill -SEGV $$"),
    "killed": Animal("kill -KILL $$"),
    "nothing": Animal("true", says="no model at RETRAIN_OUTPUT"),
    "empty": Animal(": > $RETRAIN_OUTPUT", says="an empty file"),
    "half_then_fails": Animal(f"{GOOD}; truncate -s 20 $RETRAIN_OUTPUT; exit 3"),
    "half_and_satisfied": Animal(f"{GOOD}; truncate -s 20 $RETRAIN_OUTPUT", MISSED, "could not be used"),
    "text": Animal("echo model > $RETRAIN_OUTPUT", MISSED, "could not be used"),
    "same_bytes": Animal("cp models/2*/model.joblib $RETRAIN_OUTPUT", BETTER, "kept"),
    "hard_link_to_the_champion": Animal("ln models/2*/model.joblib $RETRAIN_OUTPUT", BETTER, "kept"),
    "link": Animal(f"{GOOD}; mv $RETRAIN_OUTPUT here; ln -s $PWD/here $RETRAIN_OUTPUT", says="a symbolic link"),
    "dangling_link": Animal("ln -s /nowhere/model $RETRAIN_OUTPUT", says="a symbolic link"),
    "link_to_a_device": Animal("ln -s /dev/zero $RETRAIN_OUTPUT", says="a symbolic link"),
    "pipe": Animal("mkfifo $RETRAIN_OUTPUT", says="a pipe"),
    "folder": Animal("mkdir $RETRAIN_OUTPUT", says="a folder"),
    "socket": Animal(
        _python("import os, socket\nsocket.socket(socket.AF_UNIX).bind(os.path.relpath(os.environ['RETRAIN_OUTPUT']))"),
        says="a socket",
    ),
    "unreadable": Animal(f"{GOOD}; chmod 000 $RETRAIN_OUTPUT", frozenset({0, 5}), good=True),
    "somebody_elses": Animal(f"{GOOD}; chown 12345:12345 $RETRAIN_OUTPUT 2>&1", frozenset({0, 5}), good=True),
    "old_file": Animal(f"{GOOD}; touch -d 1980-01-01 $RETRAIN_OUTPUT", BETTER, good=True),
    "large": Animal("truncate -s 300M $RETRAIN_OUTPUT", MISSED, "could not be used"),
    "folder_swapped_for_the_champions": Animal(
        "d=$(dirname $RETRAIN_OUTPUT); rm -rf $d; ln -s $(dirname $PWD/models/2*/model.joblib) $d", frozenset({0, 5})
    ),
    "background": Animal(f"sleep 300 & {GOOD}", BETTER, good=True),
    "daemon": Animal(f"(setsid sleep 300 &) ; {GOOD}", BETTER, good=True),
    "forgetful_daemon": Animal(
        f"(env -i setsid sh -c 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; sleep 300' >/dev/null 2>&1 &) ; {GOOD}",
        BETTER,
        good=True,
    ),
    "deaf_daemon": Animal(
        f"(setsid sh -c 'trap \"\" TERM INT HUP; while true; do sleep 1; done' &) ; {GOOD}", BETTER, good=True
    ),
    "holds_the_lock": Animal(f"(setsid flock .retrain-check/lock sleep 300 &) ; {GOOD}", BETTER, good=True),
    "late": Animal(f"(sleep 2; {GOOD}) & exit 0", says="no model at RETRAIN_OUTPUT"),
    "too_slow": Animal("sleep 300", timeout="2s", says="did not end within 2 s"),
    "deaf_and_too_slow": Animal(
        "trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM; sleep 300' & while true; do sleep 1; done", timeout="2s"
    ),
    "model_but_too_slow": Animal(f"{GOOD}; sleep 300", timeout="6s", says="did not end within 6 s"),
    "prints_without_end": Animal("yes", timeout="3s", says="did not end within 3 s"),
    "prints_much": Animal(f"head -c 100000000 /dev/zero | tr '\\0' 'x'; {GOOD}", BETTER, good=True),
    "prints_much_then_fails": Animal("yes | head -c 100000000; echo the end; exit 1", says="the end"),
    "prints_control_characters": Animal("printf 'a\\033[31mb\\342\\200\\256c\\000d\\377\\n'; exit 1", says="a[31mb"),
    "fills_the_disk": Animal("head -c 100000000 /dev/zero > $RETRAIN_OUTPUT", frozenset({5, 6}), small_disk=True),
    "writes_into_models": Animal(
        f"mkdir models/junk models/.staging-x; date > models/junk/x; {GOOD}", BETTER, good=True
    ),
    "plants_a_version": Animal(
        f"mkdir models/zz; echo '{{}}' > models/zz/card.json; date > models/zz/model.joblib; {GOOD}", BETTER, good=True
    ),
    "plants_a_broken_card": Animal(f"mkdir models/zz; echo '[' > models/zz/card.json; {GOOD}", BETTER, good=True),
    "deletes_its_data": Animal(f"{GOOD}; rm $RETRAIN_TRAIN_DATA", BETTER, good=True),
    "deletes_the_data": Animal(f"{GOOD}; rm labelled.parquet", BETTER, good=True, later=frozenset({0, 4})),
    "deletes_the_holdout": Animal(f"{GOOD}; rm .retrain-check/runs/*/holdout.parquet", MISSED),
    "changes_the_holdout": Animal(f"{GOOD}; cp labelled.parquet .retrain-check/runs/*/holdout.parquet", MISSED),
    "deletes_its_folder": Animal(f"{GOOD}; rm -rf $(dirname $RETRAIN_OUTPUT)", says="no model at RETRAIN_OUTPUT"),
    "deletes_all_runs": Animal(f"{GOOD}; rm -rf .retrain-check/runs"),
    "changes_the_settings": Animal(f"{GOOD}; echo 'performance_threshold: 0.1' > config.yaml", BETTER, good=True),
    "edits_the_pointer": Animal(
        f'{GOOD}; sed -i \'s/"generation": 1/"generation": 9/\' models/champion.json',
        MISSED,
        "somebody moved it",
        later=MISSED,
        spoils=True,
    ),
    "breaks_the_pointer": Animal(
        f"{GOOD}; echo '{{' > models/champion.json", MISSED, later=MISSED, spoils=True, says="cannot be read"
    ),
    "changes_the_champion": Animal(
        f"{GOOD}; chmod -R u+w models; for m in models/2*/model.joblib; do echo x >> $m; done",
        MISSED,
        "bytes have changed",
        spoils=True,
    ),
    "deletes_the_champion": Animal(
        f"{GOOD}; chmod -R u+w models; rm models/2*/model.joblib", MISSED, spoils=True, says="cannot be read"
    ),
    "deletes_the_state": Animal(f"{GOOD}; rm -rf .retrain-check", frozenset({5, 6})),
    "breaks_the_ledger": Animal(
        f"{GOOD}; echo nonsense > .retrain-check/ledger.sqlite", MISSED, later=MISSED, says="the ledger"
    ),
    "kills_the_controller": Animal(f"{GOOD}; kill -KILL $(cat .retrain-check/lock)", frozenset({-9})),
    "terminates_the_controller": Animal("kill -TERM $(cat .retrain-check/lock); sleep 300", frozenset({143})),
    "interrupts_the_controller": Animal("kill -INT $(cat .retrain-check/lock); sleep 300", frozenset({130})),
    "stops_itself": Animal("kill -STOP $$", timeout="2s", says="did not end within 2 s"),
    "kills_its_group": Animal("kill -TERM 0; sleep 300", says="SIGTERM"),
    "reads_stdin": Animal(f"cat; {GOOD}", BETTER, good=True),
    "closes_everything": Animal(f"exec 0<&- 1>&- 2>&-; {GOOD}", BETTER, good=True),
    "runs_itself": Animal(
        f"{sys.executable} -m retrain_trigger run; test $? = 75 || exit 9; {GOOD}", BETTER, good=True
    ),
}


if __name__ == "__main__":
    zoo.visit(run, called="bad trainers", about=__doc__)
