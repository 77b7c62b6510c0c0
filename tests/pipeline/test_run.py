"""The loop, with real files, real `make`, real joblib models, through the real command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from projects import CONFIG, Project, day, write_rows


def test_a_better_challenger_is_promoted_and_then_found_healthy(champion: Project) -> None:
    before = champion.pointer
    champion.trains("new")
    done = champion.run(day=3)
    assert done.stdout.startswith("promoted: f1 0.7 is under performance_threshold 0.85")
    after = champion.pointer
    assert after["generation"] == before["generation"] + 1
    assert after["previous"] == before["version"]
    assert (champion.folder / "models" / after["path"]).is_file()
    assert champion.kinds()[-5:] == ["training", "sealed", "compared", "promoting", "promoted"]
    assert champion.run(day=3.1).stdout.startswith("waiting: nothing was measured since")
    champion.log(0.95, since=day(4))
    assert champion.run(day=5).stdout.startswith("healthy: ")


def test_a_probe_trains_without_a_breach_and_doubles_its_pause_where_the_champion_is_kept(champion: Project) -> None:
    settings = (champion.folder / "config.yaml").read_text().replace("0.85", "0.60")
    champion.write("config.yaml", settings + "trigger: {probe: 4, cooldown: 1h}\n")
    champion.trains("slight")
    assert "the next probe is due in 1 window (trigger.probe 4)" in champion.run(day=3).stdout
    champion.log(0.7, since=day(3))
    kept = champion.run(day=4).stdout
    assert kept.startswith("kept: f1 0.7 is at or above performance_threshold 0.6")
    assert "probe: 4 windows since the last promotion (trigger.probe 4)" in kept
    champion.log(*[0.7] * 7, since=day(4))
    assert "due in 1 window (trigger.probe 4, doubled after each refusal)" in champion.run(day=11).stdout
    champion.trains("new")
    champion.log(0.7, since=day(11))
    assert champion.run(day=12).stdout.startswith("promoted: ")
    champion.log(*[0.95] * 3, since=day(13))
    assert "the next probe is due in 1 window (trigger.probe 4)" in champion.run(day=16).stdout


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ("worse", "is under promotion.margin 0.02"),
        ("slight", "is under promotion.margin 0.02"),
    ],
)
def test_a_challenger_that_is_not_clearly_better_is_kept_out(champion: Project, column: str, why: str) -> None:
    pointer = (champion.folder / "models/champion.json").read_bytes()
    champion.trains(column)
    done = champion.run(day=3)
    assert done.stdout.startswith("kept: ")
    assert (champion.folder / "models/champion.json").read_bytes() == pointer
    explained = champion.retrain_check("explain").stdout
    assert why in explained
    assert "on 2" in explained  # how many deciding rows
    assert "the champion is kept" in explained
    assert champion.kinds()[-3:] == ["sealed", "compared", "kept"]


def test_a_challenger_with_the_champions_bytes_is_kept_out_without_being_scored(champion: Project) -> None:
    pointer = (champion.folder / "models/champion.json").read_bytes()
    said = champion.run(day=3).stdout
    assert said.startswith("kept: ")
    assert "was not scored; the champion is kept: its file is the champion's, byte for byte" in said
    assert "BREACH   its file is the champion's, byte for byte" in champion.retrain_check("explain").stdout
    assert (champion.folder / "models/champion.json").read_bytes() == pointer
    assert champion.kinds()[-3:] == ["sealed", "compared", "kept"]


def test_several_challengers_are_trained_and_the_best_is_promoted(champion: Project) -> None:
    champion.write("config.yaml", (champion.folder / "config.yaml").read_text().replace("[all]", "[2d, all]"))
    champion.makefile(
        f'@case "$$RETRAIN_TRAIN_DATA" in *train-2d.parquet) c=new;; *) c=worse;; esac; {sys.executable} train.py $$c'
    )
    plan = "2 challengers, on all rows and the last 2d; the champion's training took "
    assert f"; a retraining would start: {plan}" in champion.run("--dry-run", day=3).stdout
    done = champion.run(day=3)
    assert f"; retraining starts: {plan}" in done.stderr
    assert done.stdout.startswith("promoted: ")
    assert champion.pointer["version"].endswith("-2d")
    assert champion.kinds().count("training") == 2  # the bootstrap's and this one: one attempt, two challengers


def test_no_challenger_ever_trains_on_a_row_that_was_held_out(champion: Project) -> None:
    champion.trains("worse")
    script = (champion.folder / "train.py").read_text()
    keep = "import shutil; shutil.copy(os.environ['RETRAIN_TRAIN_DATA'], os.environ['RETRAIN_RUN_ID'] + '.parquet')\n"
    champion.write("train.py", script + keep)
    champion.run(day=3)
    champion.write("config.yaml", (champion.folder / "config.yaml").read_text().replace("40%", "10%"))
    champion.log(0.7, since=day(3))
    champion.run("--force", "a smaller share is reserved now", day=4.2)

    def known_on_day_three(path: Path) -> set[str]:
        rows = duckdb.read_parquet(str(path)).filter(f"timestamp::TIMESTAMPTZ <= '{day(3).isoformat()}'")
        return {row[0] for row in rows.project("id").fetchall()}

    everything = known_on_day_three(champion.folder / "labelled.parquet")
    first, second = (known_on_day_three(path) for path in champion.folder.glob("*Z-*.parquet"))
    assert 0.35 < 1 - len(first) / len(everything) < 0.45
    assert second == first, "a smaller hold-out must not set free what was held out"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("@echo no such data; exit 3", "exited with"),
        ("@true", "left no model at RETRAIN_OUTPUT"),
        ("@: > $$RETRAIN_OUTPUT", "left an empty file"),
        ("@mkdir $$RETRAIN_OUTPUT", "left a folder"),
    ],
)
def test_a_failed_training_leaves_the_champion_and_starts_the_cooldown(
    champion: Project, recipe: str, said: str
) -> None:
    pointer = (champion.folder / "models/champion.json").read_bytes()
    champion.makefile(recipe)
    done = champion.run(day=3, code=5)
    assert said in done.stderr
    assert (champion.folder / "models/champion.json").read_bytes() == pointer
    champion.log(0.7, since=day(3))
    assert "cooldown until" in champion.run(day=3.5).stdout
    champion.trains("new")
    champion.log(0.7, since=day(4))
    assert champion.run(day=4.1).stdout.startswith("promoted: ")


def test_a_training_that_hangs_is_ended_with_everything_it_started(champion: Project) -> None:
    champion.write("config.yaml", (champion.folder / "config.yaml").read_text() + "train: {timeout: 1s}\n")
    champion.makefile("@setsid sh -c 'trap \"\" TERM; echo $$$$ > escaped.pid; sleep 600' & sleep 600")
    started = time.monotonic()
    done = champion.run(day=3, code=5)
    assert "did not end within 1 s" in done.stderr
    assert time.monotonic() - started < 30
    escaped = int((champion.folder / "escaped.pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(escaped, 0)
    champion.write("config.yaml", CONFIG)
    champion.trains("new")
    champion.log(0.7, since=day(4))
    assert champion.run(day=4.1).stdout.startswith("promoted: ")


def test_what_a_training_leaves_running_is_ended(champion: Project) -> None:
    champion.trains("worse")
    makefile = champion.folder / "Makefile"
    makefile.write_text(makefile.read_text() + "\t@setsid sh -c 'echo $$$$ > daemon.pid; sleep 600' & sleep 0.3\n")
    champion.run(day=3)
    with pytest.raises(ProcessLookupError):
        os.kill(int((champion.folder / "daemon.pid").read_text()), 0)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("* REPLACE (NULL::INTEGER AS new)", "column 'new' has no value"),
        ("* EXCLUDE (new)", "column 'new' is missing"),
        ("* REPLACE (new::VARCHAR || 'x' AS new)", "column 'new' holds text values"),
        ("* REPLACE (if(hour(timestamp::TIMESTAMP) < 8, NULL, new) AS new)", "column 'new'"),
        ("* REPLACE (1 AS label)", "class"),
        ("* REPLACE ('r1' AS id)", "id"),
        ("* EXCLUDE (label)", "column 'label'"),
    ],
)
def test_unfit_data_is_refused_before_make_starts(champion: Project, select: str, said: str) -> None:
    write_rows(champion.folder / "labelled.parquet", select=select)
    champion.makefile("@touch make-was-started")
    done = champion.run(day=3, code=4)
    assert said in done.stdout + done.stderr
    assert not (champion.folder / "make-was-started").exists()
    assert champion.trainings() == 1, "only the first champion's"
    write_rows(champion.folder / "labelled.parquet")
    champion.trains("new")
    assert champion.run(day=3.1).stdout.startswith("promoted: "), "mended data is trained on at once, without cooldown"


def test_too_few_deciding_rows_wait_instead_of_training(champion: Project) -> None:
    champion.write("config.yaml", (champion.folder / "config.yaml").read_text().replace("200", "5000"))
    done = champion.run(day=3)
    assert done.stdout.startswith("waiting: ")
    assert "rows more needed" in done.stdout
    assert champion.trainings() == 1
    champion.trains("worse")
    assert "rows more needed" in champion.run("--force", "never mind", day=3.1).stdout
    assert champion.trainings() == 2


def test_labelled_rows_that_stopped_coming_cannot_decide(champion: Project) -> None:
    champion.log(0.7, since=day(9))
    write_rows(champion.folder / "labelled.parquet", hours=22 * 24)
    done = champion.run(day=10, code=6)
    assert (
        "58 rows more needed on the hold-out (promotion.min_rows 200), and their newest is of 2026-01-22" in done.stderr
    )


def test_the_simple_path(simple: Project) -> None:
    done = simple.run(day=0, code=6)
    assert "run --bootstrap`" in done.stderr
    assert "run --bootstrap --adopt PATH`" in done.stderr
    assert not (simple.folder / "models").exists()
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    pointer = (simple.folder / "models/champion.json").read_bytes()
    simple.log(0.8, 0.8)
    done = simple.run(day=2)
    assert done.stdout.startswith("sealed: ")
    for said in (done.stdout, done.stderr):
        assert "no hold-out: set data.labelled or data.holdout_file, or `retrain-check promote VERSION" in said
    assert done.stderr.index("no hold-out") < done.stderr.index("training 2026"), "said before it trains"
    assert "; retraining starts: 1 challenger, on the data that the training command finds" in done.stderr
    assert (simple.folder / "models/champion.json").read_bytes() == pointer
    version = next(entry["version"] for entry in reversed(simple.history()) if entry["kind"] == "sealed")
    simple.retrain_check("promote", version, "--reason", "looked at by hand", "--now", day(2.1).isoformat())
    assert simple.pointer["version"] == version
    simple.retrain_check("rollback", "--now", day(2.2).isoformat())
    assert simple.pointer["version"] == json.loads(pointer)["version"]


def test_twenty_days_of_standing_breach_cause_at_most_six_trainings(simple: Project) -> None:
    project = Project(simple.folder)
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    for number in range(20):
        project.log(0.8, since=day(number))
        for hour in (20, 23):
            assert "f1 0.8 is under performance_threshold 0.85" in project.run(day=number + hour / 24).stdout
    assert 2 <= project.trainings() <= 6


def test_a_training_command_that_leaves_its_model_elsewhere(simple: Project) -> None:
    simple.write("config.yaml", "performance_threshold: 0.85\ntrain: {output: out/model.bin}\n")
    simple.write("out/model.bin", "an old model")
    os.utime(simple.folder / "out/model.bin", (0, 0))
    simple.makefile("@true")
    simple.run("--bootstrap", day=0, code=5)
    newer = simple.has_in_production().read_bytes()
    simple.makefile("@cp production.model out/model.bin")
    simple.run("--bootstrap", day=1)
    assert (simple.folder / "models" / simple.pointer["path"]).read_bytes() == newer


def begun(project: Project, *, until: str) -> "subprocess.Popen[bytes]":
    """Start a tick of the third day, and wait until its training has made a file."""
    run = subprocess.Popen(
        [sys.executable, "-m", "retrain_trigger", "run", "--now", day(3).isoformat()],
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (project.folder / until).exists():
        assert run.poll() is None, "it has ended without that file"
        time.sleep(0.02)
    return run


def test_two_runs_at_once(champion: Project) -> None:
    champion.makefile("@touch started; while [ ! -e go ]; do sleep 0.05; done; exit 1")
    first = begun(champion, until="started")
    before = champion.kinds()
    done = champion.run(day=3, code=75)
    assert f"another run is active (process {first.pid})" in done.stderr
    assert champion.kinds() == before
    champion.write("go", "")
    assert first.wait() == 5


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_in_training_is_given_up_by_the_next(champion: Project, how: signal.Signals) -> None:
    champion.makefile("@echo $$$$ > training.pid; sleep 600")
    first = begun(champion, until="training.pid")
    first.send_signal(how)
    assert first.wait() == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[how]
    if how is signal.SIGKILL:
        busy = champion.run(day=3.1, code=75)
        assert "is still running" in busy.stderr
        os.killpg(os.getpgid(int((champion.folder / "training.pid").read_text())), signal.SIGKILL)
    assert "cooldown until" in champion.run(day=3.1).stdout
    assert "abandoned" in champion.kinds()


def test_a_clock_that_is_set_back_gives_a_hung_training_no_more_time(champion: Project, tmp_path: Path) -> None:
    champion.write("config.yaml", (champion.folder / "config.yaml").read_text() + "train: {timeout: 2s}\n")
    champion.makefile("@echo $$$$ > training.pid; exec sleep 600")
    first = begun(champion, until="training.pid")
    first.kill()
    first.wait()
    time.sleep(2)
    yesterday = "import time\nnow = time.time\ntime.time = lambda: now() - 86400\n"
    (tmp_path / "sitecustomize.py").write_text(yesterday)
    done = champion.retrain_check("run", "--now", day(3.1).isoformat(), PYTHONPATH=str(tmp_path))
    assert "cooldown until" in done.stdout
    with pytest.raises(ProcessLookupError):
        os.kill(int((champion.folder / "training.pid").read_text()), 0)


def test_a_training_that_outlives_its_run_is_waited_for_however_often_cron_looks(champion: Project) -> None:
    config = (champion.folder / "config.yaml").read_text()
    champion.write("config.yaml", config.replace("[all]", "[2d, all]"))
    champion.trains("new")
    makefile = (champion.folder / "Makefile").read_text()
    hang = "\t@if [ -e sealed ]; then echo $$$$ > training.pid; exec sleep 600; fi; touch sealed\n"
    champion.write("Makefile", makefile + hang)
    first = begun(champion, until="training.pid")
    first.kill()
    first.wait()
    before = champion.kinds()
    for _ in range(5):
        assert "is still running" in champion.run(day=3.1, code=75).stderr
    assert champion.kinds() == before
    os.killpg(os.getpgid(int((champion.folder / "training.pid").read_text())), signal.SIGKILL)
    assert champion.run(day=3.1).stdout.startswith("promoted: ")
    assert champion.trainings() == 2


def test_no_attempt_is_spent_while_an_earlier_training_cannot_be_ended(champion: Project) -> None:
    champion.trains("new")
    hold = "import fcntl, sys\nwith open('.retrain-check/training.lock', 'a') as file:\n"
    hold += "    fcntl.flock(file, fcntl.LOCK_EX)\n    print(flush=True)\n    sys.stdin.read()\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], cwd=champion.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    said = champion.run(day=3, code=75).stderr
    assert f"an earlier training is still running (process {holder.pid})" in said
    assert champion.trainings() == 1
    holder.communicate()
    assert champion.run(day=3.1).stdout.startswith("promoted: ")


def test_a_run_killed_after_sealing_goes_on_at_the_comparison(champion: Project) -> None:
    champion.trains("new")
    scorer = "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)\n"
    champion.write(
        "echo.py",
        "if __import__('os').path.exists('kill'):\n"
        + "".join(f"    {line}\n" for line in scorer.splitlines())
        + (champion.folder / "echo.py").read_text(),
    )
    champion.makefile(
        f'@touch kill; {sys.executable} -c \'import os; os.rename("kill", "later")\'; {sys.executable} train.py new; mv later kill'
    )
    champion.run(day=3, code=-9)
    assert champion.kinds()[-1] == "sealed"
    (champion.folder / "kill").unlink()
    assert champion.run(day=3.1).stdout.startswith("promoted: ")
    assert champion.trainings() == 2


def test_models_are_only_ever_loaded_in_the_limited_child(champion: Project) -> None:
    spy = """
import json, os, resource
class Spy:
    def __reduce__(self):
        return (tell, ())
def tell():
    with open("loaded.jsonl", "a") as file:
        limits = {"memory": resource.getrlimit(resource.RLIMIT_AS)[0], "core": resource.getrlimit(resource.RLIMIT_CORE)[0]}
        command = open("/proc/self/cmdline").read().split("\\0")
        file.write(json.dumps({"pid": os.getpid(), "parent": os.getppid(), "command": command, **limits}) + "\\n")
    from echo import Echo
    return Echo("new")
"""
    champion.write("spy.py", spy)
    champion.write("train.py", "import os, joblib, spy\njoblib.dump(spy.Spy(), os.environ['RETRAIN_OUTPUT'])\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "retrain_trigger", "run", "--now", day(3).isoformat()],
        cwd=champion.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = process.communicate(timeout=60)
    assert said.startswith("promoted: "), said
    loaded = [json.loads(line) for line in (champion.folder / "loaded.jsonl").read_text().splitlines()]
    assert len(loaded) == 1
    assert loaded[0]["pid"] != process.pid
    assert loaded[0]["parent"] == process.pid
    assert "retrain_trigger.process.scoring.scorer" in loaded[0]["command"]
    assert loaded[0]["core"] == 0
    assert 0 < loaded[0]["memory"] < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("raise ValueError('cannot')", "ValueError: cannot"),
        ("return table['old'][:-1].to_numpy()", "predictions for"),
        ("return table['old'].to_numpy() * float('nan')", "not finite"),
        ("import os; os._exit(1)", "ended with 1"),
    ],
)
def test_a_model_that_cannot_be_scored_is_not_promoted(champion: Project, broken: str, said: str) -> None:
    pointer = (champion.folder / "models/champion.json").read_bytes()
    champion.write(
        "broken.py",
        f"class Broken:\n    feature_names_in_ = ['old']\n    def predict(self, table):\n        {broken}\n",
    )
    champion.write(
        "train.py", "import os, joblib, broken\njoblib.dump(broken.Broken(), os.environ['RETRAIN_OUTPUT'])\n"
    )
    assert said in champion.run(day=3, code=6).stderr
    assert (champion.folder / "models/champion.json").read_bytes() == pointer
    assert champion.kinds()[-1] == "kept"


def test_a_pointer_moved_by_hand_stops_everything_until_a_person_says_what_is_live(champion: Project) -> None:
    path = champion.folder / "models/champion.json"
    moved = json.dumps({**champion.pointer, "generation": 99}).encode()
    path.write_bytes(moved)
    done = champion.run(day=3, code=6)
    assert "somebody moved it by hand" in done.stderr
    assert path.read_bytes() == moved
    assert champion.trainings() == 1
    assert "by hand" in champion.retrain_check("status", code=6).stdout


def test_a_pointer_that_is_torn_is_left_alone(champion: Project) -> None:
    path = champion.folder / "models/champion.json"
    path.write_text('{"generation": 1, "vers')
    assert "cannot be read" in champion.run(day=3, code=6).stderr
    assert path.read_text() == '{"generation": 1, "vers'


def test_a_dry_run_and_the_other_questions_change_nothing(champion: Project) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_size)
            for path in champion.folder.rglob("*")
            if "__pycache__" not in path.parts
        }

    before = state()
    assert champion.run("--dry-run", day=3).stdout.startswith("would retrain: ")
    champion.run("--dry-run", "--exit-code", day=3, code=10)
    for question in ("status", "history", "explain"):
        champion.retrain_check(question)
        champion.retrain_check(question, "--format", "json")
    champion.retrain_check("simulate", "--exit-code", "--set", "trigger.cooldown=1h", code=10)
    assert state() == before


def test_force_trains_a_healthy_champion(champion: Project) -> None:
    champion.log(0.95, since=day(3))
    assert champion.run(day=3.5).stdout.startswith("healthy: ")
    champion.trains("new")
    done = champion.run("--force", "new features", day=3.6)
    assert done.stdout.startswith("promoted: forced: new features")


def test_bootstrap_needs_that_there_is_no_champion(champion: Project) -> None:
    assert "is the champion already" in champion.run("--bootstrap", day=1, code=2).stderr


def test_a_hold_out_of_the_users_own(champion: Project) -> None:
    config = (champion.folder / "config.yaml").read_text()
    champion.write(
        "config.yaml", config.replace("labelled: labelled.parquet, holdout: 40%", "holdout_file: labelled.parquet")
    )
    champion.trains("new")
    assert champion.run(day=3).stdout.startswith("promoted: ")


def test_more_than_two_classes_with_f1_names_the_metric_to_use(champion: Project) -> None:
    write_rows(champion.folder / "labelled.parquet", select="* REPLACE (if(random() < 0.1, 2, label) AS label)")
    assert "f1_macro" in champion.run(day=3, code=2).stderr


def test_a_bug_is_saved_and_named_and_no_traceback_is_shown(champion: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import retrain_trigger.pipeline.run as c\ndef broken(*_, **__): raise RuntimeError('secret')\nc.run = broken\n"
    )
    done = champion.retrain_check("run", code=1, PYTHONPATH=str(tmp_path))
    assert "this is a bug in retrain-check" in done.stderr
    assert f"the champion is safe: the pointer names {champion.pointer['version']}" in done.stderr
    saved = next((champion.folder / ".retrain-check").glob("retrain-check-bug-*.txt"))
    assert str(saved) in done.stderr
    assert "RuntimeError: secret" in saved.read_text()
    assert saved.stat().st_mode & 0o077 == 0
    saved.unlink()


def test_rolling_back_twice_never_returns_to_what_was_rolled_back_from(simple: Project) -> None:
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    first = simple.pointer["version"]
    simple.log(0.8)
    simple.run(day=1)
    version = next(entry["version"] for entry in reversed(simple.history()) if entry["kind"] == "sealed")
    simple.retrain_check("promote", version, "--reason", "by hand", "--now", day(1.1).isoformat())
    simple.retrain_check("rollback", "--now", day(1.2).isoformat())
    assert simple.pointer["version"] == first
    assert "no earlier champion" in simple.retrain_check("rollback", "--now", day(1.3).isoformat(), code=2).stderr
    assert simple.pointer["version"] == first


def test_a_sealed_challenger_that_is_gone_stops_one_run_and_not_all_that_follow(champion: Project) -> None:
    champion.trains("new")
    echo = (champion.folder / "echo.py").read_text()
    killer = "import os\nif os.path.exists('kill'):\n    os.kill(os.getppid(), 9)\n    import time; time.sleep(60)\n"
    champion.write("echo.py", killer + echo)
    makefile = champion.folder / "Makefile"
    makefile.write_text(makefile.read_text() + "\t@touch kill\n")
    champion.run(day=3, code=-9)
    sealed = [entry for entry in champion.history() if entry["kind"] == "sealed"][-1]["version"]
    (champion.folder / "kill").unlink()
    (champion.folder / "models" / sealed).chmod(0o755)
    (champion.folder / "models" / sealed / "model.joblib").chmod(0o644)
    (champion.folder / "models" / sealed / "model.joblib").write_bytes(b"changed")
    assert "bytes have changed" in champion.run(day=3.1, code=6).stderr
    assert champion.run(day=3.2).stdout.startswith("waiting: ")
