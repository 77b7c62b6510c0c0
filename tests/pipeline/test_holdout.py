"""What decides about a challenger: the newest windows, apart from all training rows, recent, of two classes, and not worn."""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from projects import BREAK, CONFIG, ECHO, TRAIN, Project, day, write_rows

from retrain_trigger.config import load
from retrain_trigger.core.errors import PromotionError
from retrain_trigger.core.events import Compared, Kept, Span
from retrain_trigger.core.outcomes import Outcome, Word
from retrain_trigger.judge.gates.deciding import Breach
from retrain_trigger.pipeline import prepare
from retrain_trigger.pipeline.tick import begun
from retrain_trigger.store.ledger import Ledger

NEWEST = CONFIG.replace("decide_on: holdout", "decide_on: newest")
STEPS = ["training", "sealed", "selected", "refitting", "sealed", "compared", "promoting", "promoted"]

SNAPSHOTS = """
import os, shutil
from retrain_trigger.core.entries import KINDS
from retrain_trigger.store import ledger

append, folder = ledger.Ledger.append, os.environ.get("SNAPSHOTS")

def keeping(self, event, **rest):
    number, kind = len(os.listdir(folder)), KINDS[type(event)].value
    if kind == "sealed":
        shutil.copytree(os.getcwd(), f"{folder}/{number:02}-un{kind}")
    append(self, event, **rest)
    shutil.copytree(os.getcwd(), f"{folder}/{number + 1:02}-{kind}")

if folder:
    ledger.Ledger.append = keeping
"""


def newest_decide(project: Project, *, first: str, again: str, settings: str = NEWEST) -> None:
    """Let `make train-model` repeat column `first`, and `again` when a winner is refitted; it keeps the rows it got."""
    project.write("config.yaml", settings)
    project.trains(first)
    script = (
        "import os, shutil, sys\nrows = os.environ['RETRAIN_TRAIN_DATA']\n"
        "shutil.copy(rows, 'got-' + os.path.basename(rows))\n"
        "if os.path.basename(rows).startswith('refit'):\n    del sys.argv[1]\n"
    )
    project.write("train.py", script + TRAIN)
    project.makefile(f"@{sys.executable} train.py {first} {again}")


def newest(path: Path) -> str:
    ((at,),) = duckdb.execute(
        f"SELECT max(timestamp::TIMESTAMPTZ AT TIME ZONE 'UTC')::VARCHAR FROM '{path}'"
    ).fetchall()
    return str(at)


def card(project: Project, version: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((project.folder / "models" / version / "card.json").read_text())
    return document


@dataclass(frozen=True)
class States:
    """A project as it was after each entry of a run that promotes on the newest windows: what a kill there would leave."""

    project: Project
    kept: Path

    def after(self, *kinds: str) -> Project:
        """Put the project back to where its last entries were of these kinds; `unsealed`: before a `sealed` one."""
        names = [path.name for path in sorted(self.kept.iterdir())]
        told = [name.partition("-")[2] for name in names]
        ends = [place for place in range(len(names)) if tuple(told[: place + 1][-len(kinds) :]) == kinds]
        shutil.rmtree(self.project.folder)
        shutil.copytree(self.kept / names[ends[-1]], self.project.folder)
        return self.project


@pytest.fixture(scope="module")
def states(bootstrapped: Project, tmp_path_factory: pytest.TempPathFactory) -> States:
    place = tmp_path_factory.mktemp("two-stages")
    project = Project(shutil.copytree(bootstrapped.folder, place / "project"))
    newest_decide(project, first="new", again="new")
    (place / "hook").mkdir()
    (place / "hook/sitecustomize.py").write_text(SNAPSHOTS)
    (place / "states").mkdir()
    path = os.pathsep.join([str(place / "hook"), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    project.retrain_check("run", "--now", day(3).isoformat(), SNAPSHOTS=str(place / "states"), PYTHONPATH=path)
    return States(project, place / "states")


def test_out_of_time_a_recipe_is_judged_on_the_newest_windows_then_refitted_on_them(states: States) -> None:
    project = states.after("promoted")
    assert project.kinds()[-8:] == STEPS
    version = project.pointer["version"]
    assert card(project, version)["refit_of"] == f"{version}-candidate"
    left_out = card(project, f"{version}-candidate")["left_out"]
    assert left_out == {"windows": 2, "after": day(1).isoformat()}
    assert newest(project.folder / "got-train-all.parquet") == "2026-01-22 00:00:00"
    assert newest(project.folder / "got-refit-all.parquet") > "2026-01-23 20:00:00"
    explained = project.retrain_check("explain").stdout
    assert f"on the newest windows, challenger {version}-candidate has f1 0.9" in explained
    assert "on 384 deciding rows" in explained, "all rows of the newest two days"
    assert "on the held-out rows of these windows the refit is not clearly worse: at best +0." in explained
    selected = next(entry for entry in project.history() if entry["kind"] == "selected")
    assert selected["deciding"]["oldest"] > day(1).isoformat()
    assert {"margin", "certainty"} <= {gate["name"] for gate in selected["trials"][0]["gates"]}


def test_neither_training_has_a_reserved_row(states: States) -> None:
    folder = states.after("promoting").folder
    ((holdout,),) = duckdb.execute(f"SELECT list(id) FROM '{folder}/.retrain-check/runs/*/holdout.parquet'").fetchall()
    for name in ("train", "refit"):
        ((rows,),) = duckdb.execute(f"SELECT list(id) FROM '{folder}/got-{name}-all.parquet'").fetchall()
        assert rows
        assert not set(holdout) & set(rows)


@pytest.mark.parametrize(
    ("after", "kinds", "word"),
    [
        (("training",), [*STEPS[:1], "abandoned"], "waiting"),
        (("training", "unsealed"), STEPS, "promoted"),
        (("selected",), STEPS, "promoted"),
        (("refitting",), [*STEPS[:4], "abandoned"], "waiting"),
        (("refitting", "unsealed"), STEPS, "promoted"),
        (("compared",), STEPS, "promoted"),
        (("promoting",), STEPS, "promoted"),
    ],
)
def test_a_run_killed_after_any_step_is_finished_or_given_up(
    states: States, after: tuple[str, ...], kinds: list[str], word: str
) -> None:
    project = states.after(*after)
    assert project.run(day=3.1).stdout.startswith(f"{word}: ")
    assert [kind for kind in project.kinds() if kind not in {"decided", "resumed"}][-len(kinds) :] == kinds
    assert project.trainings() == 2, "the bootstrap's and this one: one attempt, whatever it takes"


@pytest.mark.parametrize("change", ["selection.parquet", "refit-all.parquet", "config.yaml"])
def test_what_changed_since_the_selection_is_not_gone_on_with(states: States, change: str) -> None:
    project = states.after("selected")
    (changed,) = [path for path in project.folder.rglob(change) if "got-" not in path.name]
    changed.write_bytes(changed.read_bytes() + b"train: {timeout: 3h}\n")
    assert project.run(day=3.1).stdout.startswith("waiting: ")
    abandoned = project.history()[-2]
    assert abandoned["kind"] == "abandoned"
    assert "changed since the selection" in abandoned["because"]


def test_under_other_settings_than_it_began_with_an_attempt_is_given_up(states: States) -> None:
    project = states.after("training", "unsealed")
    settings = (project.folder / "config.yaml").read_text()
    project.write("config.yaml", settings.replace("decide_on: newest", "decide_on: newest, certainty: 51%"))
    assert project.run(day=3.1).stdout.startswith("waiting: ")
    abandoned = project.history()[-2]
    assert abandoned["kind"] == "abandoned"
    assert "config.yaml changed since the training began" in abandoned["because"]


def test_a_refit_that_is_clearly_worse_is_kept_out(states: States) -> None:
    project = states.after("selected")
    newest_decide(project, first="new", again="worse")
    assert "the refit is clearly worse: at best -0." in project.run(day=3.1).stdout
    assert project.kinds()[-2:] == ["compared", "kept"]


def test_a_refit_that_fails_leaves_the_champion_and_the_candidate(states: States) -> None:
    project = states.after("selected")
    pointer = project.pointer
    project.makefile("@exit 3")
    assert "the refit of" in project.run(day=3.1, code=5).stderr
    assert project.pointer == pointer
    candidate = next(entry["candidate"] for entry in project.history() if entry["kind"] == "refitting")
    project.retrain_check("promote", candidate, "--reason", "good enough", "--now", day(3.2).isoformat())
    assert project.pointer["version"] == candidate


def test_a_recipe_that_is_not_better_out_of_time_is_not_refitted(champion: Project) -> None:
    newest_decide(champion, first="slight", again="new")
    assert "kept: " in champion.run(day=3).stdout
    assert [kind for kind in champion.kinds() if kind != "decided"][-4:] == ["training", "sealed", "selected", "kept"]


def test_several_recipes_share_the_interval_in_both_comparisons_and_a_failed_one_is_told(champion: Project) -> None:
    newest_decide(champion, first="new", again="new", settings=NEWEST.replace("[all]", "[2d, all]"))
    makefile = champion.folder / "Makefile"
    makefile.write_text(makefile.read_text() + '\t@case "$$RETRAIN_TRAIN_DATA" in *train-all*) exit 3;; esac\n')
    done = champion.run(day=3)
    assert done.stdout.startswith("promoted: ")
    assert "exited with" in done.stderr
    entries = {entry["kind"]: entry for entry in champion.history()}
    assert "not judged, because it failed: the challenger of all" in entries["selected"]["because"]
    trials = entries["selected"]["trials"] + entries["compared"]["trials"]
    assert [trial["comparison"]["challengers"] for trial in trials] == [2, 2]
    assert newest(champion.folder / "got-train-2d.parquet") == "2026-01-22 00:00:00", "a reach counts back from there"


def test_too_few_rows_in_the_newest_windows_wait(champion: Project) -> None:
    champion.write("config.yaml", NEWEST.replace("min_rows: 200", "min_rows: 600"))
    assert "24 rows more needed in the newest 3 windows (promotion.min_rows 600)" in champion.run(day=3).stdout
    champion.write("config.yaml", NEWEST.replace("min_rows: 200", "min_rows: 200, windows: 4"))
    assert "1 more window of rows needed that the champion was not trained on" in champion.run(day=3.1).stdout
    assert champion.trainings() == 1


def test_rows_from_before_the_champion_are_no_windows_that_count_against_what_is_needed(champion: Project) -> None:
    copied(champion, "old.parquet", f"timestamp::TIMESTAMPTZ < '{day(-2.5).isoformat()}'")
    found = prepared(champion, NEWEST.replace("labelled.parquet", "old.parquet"), at=0.1)
    assert isinstance(found, Outcome)
    assert "2 more windows of rows needed that the champion was not trained on" in found.because, found.because


def test_as_many_windows_decide_as_hold_enough_rows(champion: Project) -> None:
    found = prepared(champion, NEWEST.replace("min_rows: 200", "min_rows: 500"), at=3)
    assert isinstance(found, prepare.Prepared)
    assert found.selection is not None
    assert (found.selection.left_out.windows, found.selection.deciding.rows) == (3, 576)
    assert found.deciding.rows < found.selection.deciding.rows, "the held-out rows inside them can only veto"


def test_a_reach_with_unfit_rows_is_left_out_and_said(champion: Project, capsys: pytest.CaptureFixture[str]) -> None:
    copied(
        champion,
        "fit.parquet",
        f"label = 0 OR timestamp::TIMESTAMPTZ < '{day(-3).isoformat()}' OR hour(timestamp::TIMESTAMPTZ) % 2 = 0 AND timestamp::TIMESTAMPTZ >= '{day(1).isoformat()}'",
    )
    settings = NEWEST.replace("labelled.parquet", "fit.parquet").replace("[all]", "[2d, all]")
    found = prepared(champion, settings, at=3)
    assert isinstance(found, prepare.Prepared), found
    assert [split.reach for split in found.splits] == ["all"]
    assert "no challenger is trained on the rows of 2d: " in capsys.readouterr().out


def test_without_a_list_of_windows_it_trains_on_all_rows_and_on_the_last_ten_and_three(champion: Project) -> None:
    settings = NEWEST.replace(", windows: [all]", "")
    found = prepared(champion, settings, at=3)
    assert isinstance(found, prepare.Prepared)
    assert [split.reach for split in found.splits] == ["all", "10d", "3d"]
    slow = champion.folder / "models" / champion.pointer["version"] / "card.json"
    slow.parent.chmod(0o700)
    slow.chmod(0o600)
    slow.write_text(json.dumps(json.loads(slow.read_text()) | {"seconds": 601.0}))
    found = prepared(champion, settings, at=3.1)
    assert isinstance(found, prepare.Prepared)
    assert [split.reach for split in found.splits] == ["all"], "the champion's own reach, for a training takes long"


def prepared(project: Project, settings: str, *, at: float) -> prepare.Prepared | Outcome:
    """Prepare a training as a tick would, without a breached window."""
    project.write("config.yaml", settings)
    with begun(load.load(project.folder / "config.yaml"), now=day(at), say=print) as tick:
        return prepare.prepare(tick, tick.past.champion, breach=Breach(), forced=False, because="a test")


def copied(project: Project, name: str, where: str, select: str = "*") -> None:
    """Write some of the labelled rows to a file of their own."""
    rows = f"(SELECT *, timestamp::TIMESTAMPTZ >= '{BREAK.isoformat()}' AS later FROM 'labelled.parquet')"
    query = f"SELECT {select} FROM {rows.replace('labelled.parquet', str(project.folder / 'labelled.parquet'))} WHERE {where}"
    duckdb.sql(f"COPY (SELECT * EXCLUDE (later) FROM ({query})) TO '{project.folder / name}' (FORMAT parquet)")


def test_a_hold_out_row_that_a_check_of_ones_own_adds_to_the_training_data_is_refused(champion: Project) -> None:
    plant = """
import os, duckdb
rows = os.environ["RETRAIN_TRAIN_DATA"]
held = os.path.join(os.path.dirname(rows), "holdout.parquet")
first = f"(SELECT * FROM '{held}' ORDER BY id LIMIT 1)"
duckdb.sql(f"COPY (FROM '{rows}' UNION ALL FROM {first}) TO '{rows}.new' (FORMAT parquet)")
os.replace(f"{rows}.new", rows)
"""
    champion.write("plant.py", plant)
    champion.write("config.yaml", CONFIG.replace("40%", f"40%, command: {sys.executable} plant.py"))
    champion.makefile("@touch make-was-started")
    done = champion.run(day=3, code=4)
    assert "1 row of the hold-out is in the training data of all ('r" in done.stdout
    assert not (champion.folder / "make-was-started").exists()
    assert champion.kinds()[-1] == "data refused"


def test_a_hold_out_file_that_shares_rows_with_the_labelled_ones_is_refused(champion: Project) -> None:
    settings = CONFIG.replace("holdout: 40%", "holdout_file: held.parquet")
    champion.write("config.yaml", settings)
    copied(champion, "held.parquet", "later")
    done = champion.run(day=3, code=4)
    assert "rows of the hold-out are in the training data of all ('r" in done.stdout
    copied(champion, "held.parquet", "later AND id LIKE '%3'", "* REPLACE ('own ' || id AS id)")
    fit = prepared(champion, settings.replace("min_rows: 200", "min_rows: 50"), at=3.1)
    assert isinstance(fit, prepare.Prepared), "with rows of their own, both may be named"


@pytest.mark.parametrize("settings", [CONFIG, CONFIG.replace("labelled: labelled", "holdout_file: labelled")])
def test_a_hold_out_whose_rows_stopped_coming_is_refused_before_training(champion: Project, settings: str) -> None:
    copied(champion, "until.parquet", f"timestamp::TIMESTAMPTZ < '{day(5).isoformat()}'")
    settings = settings.replace("labelled.parquet", "until.parquet")
    assert isinstance(prepared(champion, settings, at=7), prepare.Prepared)
    with pytest.raises(PromotionError, match=r"are stale, and their newest is of 2026-01-2.*trigger.max_age is 3d"):
        prepared(champion, settings, at=9)


def test_a_hold_out_that_has_one_class_so_far_waits_for_the_other(champion: Project) -> None:
    copied(champion, "held.parquet", "label = 0 OR NOT later")
    settings = CONFIG.replace("labelled: labelled.parquet, holdout: 40%", "holdout_file: held.parquet")
    found = prepared(champion, settings, at=3)
    assert isinstance(found, Outcome)
    assert found.word is Word.WAITING
    assert "and two are needed: training waits for at least 1 row of another class" in found.because


def test_a_hold_out_of_one_class_is_refused_before_training(champion: Project) -> None:
    champion.write(
        "config.yaml", CONFIG.replace("labelled: labelled.parquet, holdout: 40%", "holdout_file: one.parquet")
    )
    copied(champion, "one.parquet", "label = 0")
    champion.makefile("@touch make-was-started")
    done = champion.run(day=3, code=6)
    assert "have one class only, '0' in all" in done.stderr
    assert not (champion.folder / "make-was-started").exists()


def test_rows_that_have_decided_often_are_warned_of(champion: Project) -> None:
    with Ledger.writing(champion.folder / ".retrain-check/ledger.sqlite") as ledger:
        for number in range(5):
            deciding = Span(rows=300, newest=day(1 + number / 4))
            lost = Compared(because="not better", verdict=None, champion=None, deciding=deciding)
            ledger.append(lost, at=day(0), run=f"earlier-{number}")
            ledger.append(Kept(because="not better"), at=day(0), run=f"earlier-{number}")
    warning = "these rows have decided 5 times before (warned of from 5 on)"
    assert warning in champion.retrain_check("status", "--now", day(3).isoformat()).stdout
    champion.trains("worse")
    assert warning in champion.run(day=3).stderr
    assert warning in champion.retrain_check("explain").stdout


GROUPED = NEWEST.replace("windows: [all]}", "windows: [all], group: customer}")
CUSTOMERS = "*, (substr(id, 2)::INT // 3) % 100 AS customer"
"""Rows of 100 customers who come again and again, three at a time."""


def read(path: Path, what: str) -> set[Any]:
    return {value for (value,) in duckdb.execute(f"SELECT DISTINCT {what} FROM '{path}'").fetchall()}


def test_rows_of_one_customer_stand_on_one_side_and_an_interval_counts_customers(champion: Project) -> None:
    newest_decide(champion, first="new", again="new", settings=GROUPED)
    write_rows(champion.folder / "labelled.parquet", select=CUSTOMERS)
    champion.run(day=4)
    assert champion.pointer["generation"] == 2
    trained, refitted = (read(champion.folder / f"got-{name}-all.parquet", "customer") for name in ("train", "refit"))
    assert trained == refitted
    held = set(range(100)) - trained
    assert 20 < len(held) < 60, "about 40 %"
    explained = champion.retrain_check("explain").stdout
    assert "rows of one customer are" in explained
    selected = next(entry for entry in champion.history() if entry["kind"] == "selected")
    design = selected["trials"][0]["comparison"]["design"]
    assert (design["by"], design["groups"]) == ("customer", len(held))
    # At 192 rows a day of which the customers that are held out have a share, more days decide than two.
    assert selected["deciding"]["rows"] >= 200
    begun = next(entry for entry in reversed(champion.history()) if entry["kind"] == "training")
    assert begun["group"] == "customer"


def test_what_was_held_out_by_id_is_never_trained_on_after_groups_are_named(champion: Project) -> None:
    newest_decide(champion, first="worse", again="worse")
    champion.run(day=3)
    before = read(champion.folder / "got-train-all.parquet", "id")
    newest_decide(champion, first="new", again="new", settings=GROUPED)
    write_rows(champion.folder / "labelled.parquet", select=CUSTOMERS)
    champion.run("--force", "a test", day=9)
    then = f"id) FROM '{champion.folder}/got-train-all.parquet' WHERE timestamp::TIMESTAMPTZ <= '{newest_trained(before, champion)}'"
    ((ids,),) = duckdb.execute(f"SELECT list({then}").fetchall()
    assert len(ids) > 1000
    assert set(ids) <= before


def newest_trained(ids: set[str], project: Project) -> str:
    rows = duckdb.execute(
        f"SELECT max(timestamp)::VARCHAR FROM '{project.folder}/labelled.parquet' WHERE list_contains($1, id)",
        [list(ids)],
    )
    ((at,),) = rows.fetchall()
    return str(at)


def test_a_customer_of_a_hold_out_file_must_not_be_learnt_from(champion: Project) -> None:
    copied(champion, "holdout.parquet", "timestamp::TIMESTAMPTZ > '2026-01-22'", select=CUSTOMERS)
    copied(champion, "labelled.parquet", "timestamp::TIMESTAMPTZ <= '2026-01-22'", select=CUSTOMERS)
    settings = CONFIG.replace("holdout: 40%", "group: customer, holdout_file: holdout.parquet")
    champion.write("config.yaml", settings)
    done = champion.run("--force", "a test", day=3, code=4)
    assert "of the hold-out are in the training data of all, or another of the same customer (" in done.stdout


def parts(project: Project, kind: str) -> dict[str, tuple[int, float, float]]:
    found = [entry for entry in project.history() if entry["kind"] == kind][-1]["trials"][0]["parts"]
    return {part["on"]: (part["rows"], part["champion"], part["challenger"]) for part in found}


def test_both_models_are_shown_on_the_breach_and_on_older_rows(states: States) -> None:
    project = states.after("promoted")
    found = parts(project, "selected")
    assert list(found) == ["rows that decide", "breached windows", "older rows, held out"]
    decide, breached, older = found.values()
    assert decide[0] == 384
    # Two days breached: the second is one of those that decide, and of the first two fifths are held out.
    assert 192 + 50 < breached[0] < 192 + 110
    for _, own, new in (decide, breached):
        assert own < 0.8
        assert new > 0.9
    assert 20 * 192 * 0.35 < older[0] < 20 * 192 * 0.45
    assert older[1] > 0.9, "before the break the champion was as good"
    assert older[2] > 0.9
    explained = project.retrain_check("explain").stdout
    assert "f1 on rows that neither was trained on: champion, challenger" in explained
    assert "    older rows, held out     0.9" in explained


def test_a_model_that_cannot_answer_older_rows_is_compared_all_the_same(champion: Project) -> None:
    newest_decide(champion, first="new", again="new")
    champion.write("echo.py", ECHO.replace("return", "assert table['slight'].notna().all()\n        return"))
    rows, copy = champion.folder / "labelled.parquet", champion.folder / "copy.parquet"
    old = "if(timestamp::TIMESTAMPTZ < '2026-01-12', NULL, slight)"
    duckdb.execute(f"COPY (SELECT * REPLACE ({old} AS slight) FROM '{rows}') TO '{copy}' (FORMAT parquet)")
    copy.rename(rows)
    champion.write("config.yaml", NEWEST.replace("windows: [all]", "windows: [11d], max_missing: 100%"))
    champion.run(day=3)
    assert champion.pointer["generation"] == 2
    assert list(parts(champion, "selected")) == ["rows that decide", "breached windows"]


def certainty(project: Project, kind: str) -> float:
    found = [entry for entry in project.history() if entry["kind"] == kind][-1]["trials"][0]["comparison"]
    return float(found["certainty"])


def test_the_certainty_asked_for_grows_with_each_attempt_and_a_veto_has_that_of_one(champion: Project) -> None:
    newest_decide(champion, first="worse", again="worse", settings=NEWEST.replace("min_rows: 200", "min_rows: 100"))
    champion.run(day=3)
    assert certainty(champion, "selected") == 0.8784
    champion.log(0.7, since=day(4))
    newest_decide(champion, first="new", again="new", settings=NEWEST)
    champion.run(day=5.2)
    assert champion.pointer["generation"] == 2
    assert certainty(champion, "selected") == 0.9696
    assert certainty(champion, "compared") == 0.8
    newest_decide(champion, first="slight", again="slight", settings=NEWEST)
    champion.run("--force", "once more", day=6.5)
    assert certainty(champion, "selected") == 0.8784, "the first since the promotion"
