"""Each command in a process of its own loads what it needs; elsewhere, commands are forks of one that has loaded all."""

import joblib
from projects import Project, day, repeating


def test_each_command_loads_what_it_needs(champion: Project) -> None:
    alone = Project(champion.folder, forked=False)
    first = champion.pointer["version"]
    champion.trains("new")
    assert alone.run("--no-promote", day=3).stdout.startswith("kept: ")
    assert "better" in alone.retrain_check("compare", "--now", day(3).isoformat()).stdout
    second = champion.history()[-1]["run"]
    alone.retrain_check("promote", second, "--reason", "better", "--now", day(3.1).isoformat())
    assert champion.pointer["version"] == second
    alone.retrain_check("rollback", "--now", day(3.2).isoformat())
    assert champion.pointer["version"] == first
    joblib.dump(repeating("slight"), champion.folder / "live.joblib")
    alone.retrain_check("adopt", "live.joblib", "--reason", "a switch", "--now", day(3.3).isoformat())
    assert champion.pointer["version"] not in {first, second}
    for question in (("status",), ("history", "--verify"), ("explain",), ("simulate",)):
        assert alone.retrain_check(*question).stdout
