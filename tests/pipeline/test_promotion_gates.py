"""What a challenger must show besides a better score, through the real command, with real models."""

import json
import os
from pathlib import Path

import pytest
from projects import Project, day, write_rows

REGIONS = """
    *, CASE WHEN id LIKE '%99' THEN NULL WHEN right(id, 1) IN ('0', '1', '2', '3') THEN 'north' ELSE 'south' END AS region
"""

BROKEN = """
import time
from echo import Echo

class Broken(Echo):
    def __init__(self):
        super().__init__("new")
        self.feature_names_in_ = self.feature_names_in_[::-1]
        self.weight = bytes(100_000)

    def predict(self, table):
        time.sleep(0.02)
        return super().predict(table)
"""


def configured(project: Project, promotion: str) -> None:
    config = (project.folder / "config.yaml").read_text()
    project.write("config.yaml", config.replace("min_rows: 200}", f"min_rows: 200, {promotion}}}"))


def golden(project: Project, **wrong: int) -> None:
    rows = [
        {"id": name, "old": 0, "new": said, "slight": 0, "worse": 0, "label": 1}
        for name, said in {"ok": 1, **wrong}.items()
    ]
    project.write("golden.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_a_challenger_that_is_worse_on_one_slice_is_kept_out_and_the_slice_named(champion: Project) -> None:
    write_rows(
        champion.folder / "labelled.parquet",
        select=REGIONS.replace("*", "* REPLACE (if(right(id, 1) IN ('0', '1', '2', '3'), worse, new) AS new)", 1),
    )
    configured(champion, "slices: [region]")
    champion.log(0.7, since=day(14))
    champion.trains("new")
    pointer = champion.pointer
    done = champion.run(day=15)
    assert done.stdout.startswith("kept: ")
    assert "region 'north' gets worse: f1 0." in done.stdout
    assert champion.pointer == pointer
    explained = champion.retrain_check("explain").stdout
    assert "PASS     region 'south' does not get clearly worse" in explained
    assert "UNKNOWN  region without a value: " in explained
    assert "McNemar's exact test: p = " in explained


def test_a_challenger_that_cannot_take_the_champions_place_is_told_every_reason(champion: Project) -> None:
    configured(champion, "latency: 3, size: 10, floor: 0.99, golden: golden.jsonl")
    golden(champion, bert=0)
    champion.trains("new")
    champion.write("broken.py", BROKEN)
    champion.write(
        "train.py", "import os, joblib, broken\njoblib.dump(broken.Broken(), os.environ['RETRAIN_OUTPUT'])\n"
    )
    said = champion.run(day=3).stdout
    assert said.startswith("kept: ")
    for reason in (
        "is under promotion.floor 0.99",
        "has the champion's features in another order, first 'worse'",
        "promotion.latency is 3",
        "promotion.size is 10",
        "1 of 2 golden rows answered wrong: 'bert'",
    ):
        assert reason in said
    assert champion.pointer["generation"] == 1


def test_a_good_challenger_passes_every_gate(champion: Project) -> None:
    configured(champion, "latency: 3, size: 10, floor: 0.80, golden: golden.jsonl, slices: [label]")
    golden(champion)
    champion.trains("new")
    assert champion.run(day=3).stdout.startswith("promoted: ")
    explained = champion.retrain_check("explain").stdout
    for passed in ("all of 1 golden row answered right", "promotion.floor 0.8", "has the champion's 4 features"):
        assert passed in explained


@pytest.mark.parametrize(
    ("promotion", "said"),
    [
        ("slices: [regoin]", "promotion.slices names column 'regoin', and the labelled rows have no such column"),
        ("golden: golden.csv", "promotion.golden"),
    ],
)
def test_settings_that_no_comparison_could_follow_break_before_the_training(
    champion: Project, promotion: str, said: str
) -> None:
    configured(champion, promotion)
    done = champion.run(day=3, code=6)
    assert said in done.stderr
    assert "Nothing was trained" in done.stderr
    assert champion.trainings() == 1


def test_a_sabotaged_gate_promotes_nothing(champion: Project, tmp_path: Path) -> None:
    champion.trains("new")
    pointer = (champion.folder / "models/champion.json").read_bytes()
    (tmp_path / "sitecustomize.py").write_text(
        "from retrain_trigger.core.findings import Finding, Verdict\n"
        "from retrain_trigger.judge.gates import gates\n"
        "def open_gate(_):\n"
        "    return Finding(name='certainty', verdict=Verdict.PASS, value=1, limit=0, because='anything goes')\n"
        "gates.GATES['certainty'] = open_gate\n"
    )
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = champion.retrain_check("run", "--now", day(3).isoformat(), code=6, PYTHONPATH=paths)
    assert "the gate failed its own proof, so it decides nothing: it would let through the champion against itself" in (
        done.stderr
    )
    assert (champion.folder / "models/champion.json").read_bytes() == pointer
    last = champion.history()[-1]
    assert last["kind"] == "kept"
    assert "failed its own proof" in json.dumps(last)
