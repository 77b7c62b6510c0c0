"""Each kind of model that people have: adopted, measured bad, compared, and replaced by one that is clearly better."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import util
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import joblib
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from projects import Project, day
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

PER_HOUR, DAYS = 8, 12
CONFIG = """\
performance_threshold: 0.85
drift_threshold: 0.20
data: {labelled: labelled.parquet, holdout: 40%}
promotion: {min_rows: 200}
"""
OWN = '''
"""Classes of one's own: they say nothing of themselves, and answer by one column."""

import numpy

class Rule:
    def __init__(self, column, words):
        self.column, self.words = column, numpy.array(words)

    def predict(self, table):
        return self.words[(table[self.column] > 0).astype(int)]

class Tall(Rule):
    def predict(self, table):
        return super().predict(table).reshape(-1, 1)

class Short(Rule):
    def predict(self, table):
        return super().predict(table)[1:]
'''


TREE = DecisionTreeClassifier(max_depth=2)


@dataclass(frozen=True)
class Kind:
    """A kind of model: how one is fitted on a pandas DataFrame and labels, and how its project calls the classes 0 and 1."""

    fit: Callable[[pd.DataFrame, Any], Any]
    words: tuple[Any, Any] = (0, 1)
    colour: bool = False
    names: tuple[str, str] = ("a", "b")

    def learnt(self, rows: pd.DataFrame, rule: str) -> tuple[pd.DataFrame, Any]:
        """Return what a model learns from: rows without their labels, and the labels that one column gives."""
        table = rows[["a", "b", *(["colour"] if self.colour else [])]]
        return table, np.array(self.words)[(rows[rule] > 0).astype(int)]


def of_own(name: str) -> Callable[[pd.DataFrame, Any], Any]:
    """Return what makes a model of a class that stands beside config.yaml."""

    def fit(table: pd.DataFrame, labels: Any) -> Any:
        column = "a" if len(set(labels[table["a"] > 0])) == 1 else "b"
        return getattr(sys.modules["own"], name)(column, sorted(set(labels)))

    return fit


def with_categories(model: Any) -> Callable[[pd.DataFrame, Any], Any]:
    """Return what fits a model on a table whose text is made categories."""
    return lambda table, labels: model.fit(table.astype({"colour": "category"}), labels)


PROMOTED = {
    "a pipeline": Kind(lambda table, labels: make_pipeline(StandardScaler(), LogisticRegression()).fit(table, labels)),
    "without feature names": Kind(lambda table, labels: LogisticRegression().fit(table.to_numpy(), labels)),
    "a class of one's own": Kind(of_own("Rule")),
    "answers in a column": Kind(of_own("Tall")),
    "text for labels": Kind(of_own("Rule"), words=("bad", "good")),
    "true and false": Kind(of_own("Rule"), words=(False, True)),
    "numbers as text": Kind(of_own("Rule"), words=("0.0", "1.0")),
}
ADOPTED = {
    "a bare estimator": Kind(lambda table, labels: LogisticRegression().fit(table, labels)),
    "xgboost": Kind(lambda table, labels: XGBClassifier(n_estimators=5).fit(table, labels)),
    "lightgbm": Kind(lambda table, labels: LGBMClassifier(n_estimators=5, verbose=-1).fit(table, labels)),
    "one of others": Kind(
        lambda table, labels: VotingClassifier(
            [("calibrated", CalibratedClassifierCV(GaussianNB())), ("search", GridSearchCV(TREE, {"max_depth": [1]}))]
        ).fit(table, labels)
    ),
    "histogram gradient boosting": Kind(with_categories(HistGradientBoostingClassifier(max_iter=3)), colour=True),
    "lightgbm on categories": Kind(with_categories(LGBMClassifier(n_estimators=5, verbose=-1)), colour=True),
    "xgboost on categories": Kind(with_categories(XGBClassifier(n_estimators=5, enable_categorical=True)), colour=True),
    "numbers for names": Kind(
        lambda table, labels: LGBMClassifier(n_estimators=5, verbose=-1).fit(table.set_axis([0, 1], axis=1), labels),
        names=("0", "1"),
    ),
}
REFUSED = {
    "answers for fewer rows": (Kind(of_own("Short")), "the model gave 999 predictions for 1000 rows"),
    "a regressor": (
        Kind(lambda table, labels: LinearRegression().fit(table, labels)),
        "and the labels are 0, 1: metric f1 counts right answers",
    ),
    "other labels": (
        Kind(lambda table, labels: of_own("Rule")(table, np.where(labels == 1, "yes", "no"))),
        "answers no, yes, and the labels are 0, 1",
    ),
    "another number of features": (
        Kind(lambda table, labels: GaussianNB().fit(table[["a"]].to_numpy(), labels)),
        "X has 2 features, but GaussianNB is expecting 1",
    ),
}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Labelled rows: `a` says what is right until day 0, and `b` from then on."""
    dice = np.random.default_rng(4)
    size = 24 * PER_HOUR * DAYS
    made = pd.DataFrame({"timestamp": [day(-8) + timedelta(hours=at / PER_HOUR) for at in range(size)]})
    made["id"] = [f"r{number}" for number in range(size)]
    made["a"], made["b"] = dice.normal(size=size), dice.normal(size=size)
    made["colour"] = dice.choice(["red", "green", "blue"], size=size)
    made["right"] = (made["b"].where(made["timestamp"] >= day(0), made["a"]) > 0).astype(int)
    return made


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A module of one's own, which can be imported here and from a project that it stands in."""
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)
    specification = util.spec_from_file_location("own", path)
    assert specification
    assert specification.loader
    module = util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with mock.patch.dict(sys.modules, own=module):
        yield path


@pytest.fixture
def project(tmp_path: Path, own: Path) -> Project:
    made = Project(tmp_path)
    made.write("config.yaml", CONFIG)
    made.makefile('@cp next.joblib "$$RETRAIN_OUTPUT"')
    made.log(0.3, 0.3, 0.3, 0.3)
    shutil.copy(own, tmp_path)
    return made


def in_production(project: Project, kind: Kind, rows: pd.DataFrame) -> None:
    """Leave the model that is live, one that the next training gives, and the rows as the project calls things."""
    joblib.dump(kind.fit(*kind.learnt(rows, "a")), project.folder / "live.joblib")
    joblib.dump(of_own("Rule")(*kind.learnt(rows, "b")), project.folder / "next.joblib")
    data = rows.assign(label=np.array(kind.words)[rows["right"]]).drop(columns="right")
    data = data.rename(columns=dict(zip("ab", kind.names, strict=True)))
    data = data if kind.colour else data.drop(columns="colour")
    with duckdb.connect() as connection:
        connection.register("data", data)
        connection.execute(f"COPY data TO '{project.folder}/labelled.parquet' (FORMAT parquet)")


def adopt(project: Project, path: str = "live.joblib", *, code: int = 0) -> str:
    done = project.retrain_check("adopt", path, "--now", day(0).isoformat(), code=code)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", PROMOTED)
def test_it_is_replaced_by_one_that_is_clearly_better(project: Project, rows: pd.DataFrame, name: str) -> None:
    in_production(project, PROMOTED[name], rows)
    adopt(project)
    first = project.pointer["version"]
    said = project.run(day=4).stdout
    assert said.startswith("promoted: f1 0.3 is under performance_threshold 0.85")
    assert "has f1 1.000 against the champion's 0." in said
    assert project.pointer["previous"] == first


@pytest.mark.parametrize("name", ADOPTED)
def test_it_is_adopted_and_answers(project: Project, rows: pd.DataFrame, name: str) -> None:
    in_production(project, ADOPTED[name], rows)
    adopt(project)
    card = json.loads((project.folder / "models" / project.pointer["path"]).with_name("card.json").read_text())
    assert card["classes"] in (["0", "1"], None)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_for_what_it_answers(project: Project, rows: pd.DataFrame, name: str) -> None:
    kind, why = REFUSED[name]
    in_production(project, kind, rows)
    assert why in adopt(project, code=2)
    assert not (project.folder / "models").exists()
