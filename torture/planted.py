"""Secrets planted in the environment and in commands, and looked for in all that a loop leaves and says.

Run as `python torture/secrets.py`; exits with 1 where one was found. What the user's own programs write where they
please is theirs: the training here prints every secret and fails with them, and must not get them into a log, a
message, the ledger, or a version.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import zoo
from projects import Project, day

NAMES = (
    *("SLACK_WEBHOOK_URL", "TEAMS_WEBHOOK", "PAGERDUTY_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("DATABASE_PASSWORD", "PGPASSWORD", "MLFLOW_TRACKING_PASSWORD", "WANDB_API_KEY", "HF_TOKEN", "SENTRY_DSN"),
    *("SIGNING_KEY", "VAULT_TOKEN", "SMTP_PASSWORD", "REDIS_AUTH", "COOKIE_SECRET", "AZURE_CLIENT_SECRET"),
)  # fmt: skip
"""Variables of the environment that hold a secret each."""

IN_TEXTS = {
    "bearer": "curl -s -H 'Authorization: Bearer {}' localhost:9 || true",
    "hook": "echo https://hooks.example.org/services/{} > /dev/null",
    "user": "echo postgres://churn:{}@db/rows > /dev/null",
    "query": "echo 'https://db.example.org/rows?token={}&all=1' > /dev/null",
    "option": "echo --password={} > /dev/null",
    "variable": "API_KEY={} true",
}
"""Commands of config.yaml that hold one each, though the environment is the place for them."""

TRAIN = """
import os, sys
for name, value in sorted(os.environ.items()):
    print(name, value, flush=True)
print("x" * 70_000 + os.environ["GITHUB_TOKEN"])
if os.path.exists("fail"):
    raise SystemExit("failed: " + os.environ["SLACK_WEBHOOK_URL"] + " " + os.environ["HF_TOKEN"])
sys.argv = ["train.py", "new"]
exec(open("train.py").read())
"""

MODEL = """
    def predict(self, table):
        print(os.environ["PGPASSWORD"], flush=True)
        if os.path.exists("die"):
            os.abort()
        if os.path.exists("raise"):
            raise ValueError(os.environ["SMTP_PASSWORD"])
        return table[self.column].to_numpy()
"""


def run(*, seed: int = 7) -> tuple[int, list[str]]:
    """Play a loop with every kind of ending; return how many secrets were planted, and where one was found."""
    planted = {
        name: f"sEcReT{seed}-{name[::-1].lower()}-{number:03d}" for number, name in enumerate(NAMES + tuple(IN_TEXTS))
    }
    environment = {**os.environ, **{name: planted[name] for name in NAMES}}
    with zoo.ground() as ground:
        project = zoo.copied(ground, "secrets")
        said = _played(project, environment, planted)
        violations = [f"{name} was said: {_around(said, secret)}" for name, secret in planted.items() if secret in said]
        violations += _found(project.folder, planted)
    return len(planted), violations


def _played(project: Project, environment: dict[str, str], planted: dict[str, str]) -> str:
    """Go through failed, refused, and unusable challengers, a promotion, a bug, and every question; return all output."""
    project.write("loud.py", TRAIN)
    project.write(
        "echo.py", "import os\n" + (project.folder / "echo.py").read_text().partition("    def predict")[0] + MODEL
    )
    commands = [form.format(planted[name]) for name, form in IN_TEXTS.items()]
    settings = (
        (project.folder / "config.yaml").read_text().replace("data: {", "data: {command: env, ").replace("train: {", "")
    )
    settings = settings.replace("timeout: 40s}", "") + "trigger: {cooldown: 1s, budget: 100 per 30d}\n"
    command = json.dumps("; ".join([*commands, f"{sys.executable} loud.py"]))
    project.write("config.yaml", f"{settings}train: {{command: {command}}}\n")
    said = ""

    def play(*arguments: str, code: int | None = None) -> None:
        nonlocal said
        done = subprocess.run(
            [sys.executable, "-m", "retrain_trigger", *arguments],
            cwd=project.folder, env=environment, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        said += done.stdout + done.stderr
        assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"

    for number, (flag, code) in enumerate((("fail", 5), ("die", 6), ("raise", 6), ("", 0))):
        if flag:
            project.write(flag, "")
        play("run", "--force", f"try {number}", "--now", day(4 + number).isoformat(), "-v", code=code)
        if flag:
            (project.folder / flag).unlink()
    for question in (["history"], ["history", "-v"], ["explain"], ["status", "-v"], ["simulate"], ["run", "--dry-run"]):
        play(*question)
        play(*question, "--format", "json")
    project.write(
        "config.yaml", f"{settings}train: {{command: {command}, timeout: 5 parsecs}}\nhook: {planted['hook']}\n"
    )
    play("run", code=2)
    return said


def _found(folder: Path, planted: dict[str, str]) -> list[str]:
    """Return the files that hold a secret, but for config.yaml, where the test itself put some."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "config.yaml":
            content = path.read_bytes()
            found += [
                f"{name} is in {path.relative_to(folder)}"
                for name, secret in planted.items()
                if secret.encode() in content
            ]
    return found


def _around(said: str, secret: str) -> str:
    place = said.index(secret)
    return repr(said[max(0, place - 200) : place + 80])


def main() -> None:
    """Plant them all and say where one was found."""
    count, violations = run()
    print("\n".join([*violations, f"{count} planted secrets, {len(violations)} violations"]))
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
