import json
from pathlib import Path

import pytest
from projects import Project

from retrain_trigger.core.redaction import PROSE, redacted, redacted_texts
from retrain_trigger.process import output
from retrain_trigger.store import files


def test_values_of_secret_variables_are_replaced_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_TOKEN", "s3cr3t-value")
    monkeypatch.setenv("TOKEN_FILE", "/run/secrets/deploy")
    monkeypatch.setenv("REGION", "eu-central-1")
    said = "s3cr3t-value for eu-central-1 from /run/secrets/deploy"
    assert redacted(said) == "*** for eu-central-1 from /run/secrets/deploy"


def test_a_secret_that_begins_like_another_is_replaced_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "abcdefghijkl")
    assert redacted("abcdefghijkl and abcdefgh") == "*** and ***"


def test_a_record_keeps_what_the_next_run_relies_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", "20260105T031500Z-ab12cd")
    body = {"pointer": {"path": "20260105T031500Z-ab12cd/model.joblib"}, "because": "of 20260105T031500Z-ab12cd"}
    assert redacted_texts(body, keys=PROSE) == {"pointer": body["pointer"], "because": "of ***"}


@pytest.mark.parametrize("size", [10, 70_000, 30 << 20])
def test_of_what_is_printed_the_beginning_and_the_end_are_kept(tmp_path: Path, size: int) -> None:
    log = tmp_path / "train.log"
    with output.kept(log) as printed, open(printed, "wb", closefd=False) as file:
        file.write(b"first\n" + b"x" * size + b"\nlast\n")
    kept = log.read_bytes()
    assert kept.startswith(b"first\n")
    assert kept.endswith(b"\nlast\n")
    assert len(kept) <= output.HEAD + output.TAIL + 200_000
    assert (b"bytes left out here" in kept) == (size > output.HEAD)
    assert output.last_lines(log)[-1] == "last"


def test_a_secret_on_the_border_of_two_reads_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "0123456789abcdef")
    with output.kept(tmp_path / "log") as printed, open(printed, "wb", closefd=False) as file:
        file.write(b"".join(b"%d 0123456789abcdef\n" % number for number in range(20_000)))
    kept = (tmp_path / "log").read_bytes()
    assert b"0123456789abcdef" not in kept
    assert kept.count(b"***") == 20_000


def test_a_command_that_prints_its_environment_tells_nobody(simple: Project) -> None:
    simple.write(
        "config.yaml",
        "performance_threshold: 0.85\ntrain: {command: \"env; curl -H 'Authorization: Bearer abcdefgh12' x; exit 1\"}\n",
    )
    environment = {"SLACK_WEBHOOK_URL": "https://example.org/T0/B1/x9y8z7", "REGION": "eu-central-1"}
    simple.run("--bootstrap", "--adopt", "production.model", day=0)
    simple.log(0.7)
    done = simple.retrain_check("run", "--now", "2026-01-22T00:00Z", code=5, **environment)
    history = json.dumps(simple.history())
    logs = "".join(log.read_text() for log in (simple.folder / ".retrain-check").rglob("train.log"))
    assert "SLACK_WEBHOOK_URL=***" in logs
    assert "REGION=eu-central-1" in logs
    for secret in ("x9y8z7", "abcdefgh12"):
        assert secret not in done.stdout + done.stderr + history + logs


def test_the_log_of_a_command_is_private(tmp_path: Path) -> None:
    with output.kept(tmp_path / "log"):
        pass
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert files.is_empty(tmp_path / "log")
