"""What cron asks every day must not load what only a training needs."""

import pytest
from projects import Project, day

HEAVY = {"numpy", "scipy", "sklearn", "joblib", "duckdb", "pandas", "pyarrow"}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("healthy"))
    project.write("config.yaml", "performance_threshold: 0.85\ndata: {labelled: labelled.parquet}\n")
    project.has_in_production()
    project.run("--bootstrap", "--adopt", "production.model", day=0)
    project.log(0.9, 0.91)
    return project


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("run", "--now", day(2).isoformat()), "healthy"),
        (("run", "--now", day(2).isoformat(), "--dry-run"), "healthy"),
        (("status", "--now", day(2).isoformat()), "healthy"),
        (("history",), "promoted"),
        (("explain",), "promoted"),
        (("simulate",), "2 measurements"),
        (("--help",), "Usage"),
    ],
)
def test_a_healthy_day_imports_nothing_heavy(healthy: Project, arguments: tuple[str, ...], answer: str) -> None:
    done = healthy.retrain_check(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert answer in done.stdout
    lines = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    packages = {name.partition(".")[0] for name in lines}
    assert {"retrain_trigger", "click"} <= packages
    assert packages & HEAVY == set()
