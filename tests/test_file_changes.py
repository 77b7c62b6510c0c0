"""All changes to files go through store/files.py, or through one of the few that are named here with their reason."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrain_trigger.store import files

PACKAGE = Path(__file__).parents[1] / "retrain_trigger"

ELSEWHERE = {
    "store/files.py": "the place itself",
    "process/scoring/scorer.py": "runs in the child that loads a model, below a scratch folder; a lost reply is a failed scoring",
}
"""Files in which changes may stand."""

CALLS = {
    ("cli/door.py", "tempfile.NamedTemporaryFile"): "the traceback of a bug, for a person",
    ("cli/printing.py", "shutil.get_terminal_size"): "asks, and writes nothing",
    ("store/registry.py", "rename"): "a folder in the pointer's place is put aside by a person's rollback",
    (
        "store/rollback_record.py",
        "os.open",
    ): "lines are written into reserved room: a full disk has none to replace a file",
    ("store/rollback_record.py", "os.pwrite"): "as above",
    ("cli/terminal.py", "os.open"): "/dev/null, in the place of an output that nobody reads any more",
    ("cli/terminal.py", "open"): "as above",
    ("store/lock.py", "os.ftruncate"): "names the holder of a lock for a message; nothing reads it back",
    ("store/lock.py", "os.pwrite"): "as above",
    ("store/lock.py", "os.open"): "read-only, to ask whether the lock is held",
    ("process/training.py", "os.ftruncate"): "as in store/lock.py",
    ("process/training.py", "os.pwrite"): "as in store/lock.py",
    ("store/ledger.py", "sqlite3.connect"): "SQLite writes and syncs its file by itself",
    (
        "store/ledger.py",
        "tempfile.TemporaryDirectory",
    ): "a copy for a question, where the ledger's own disk is read-only",
    ("engines/labelled.py", "COPY TO"): "DuckDB writes training data and hold-out to the scratch of the run",
    ("engines/tallies.py", "COPY TO"): "as above, the golden rows",
    ("engines/logged_requests.py", "COPY TO"): "as above, the requests that a comparison asks again",
    ("engines/stream.py", "COPY TO"): "as above, the rows that a backtest plays, in its cache",
    ("engines/waiting.py", "COPY TO"): "DuckDB writes rows that wait beside their place; store/files.py publishes them",
    ("process/output.py", "os.fdopen"): "the reading end of a pipe",
    ("process/cached.py", "os.fdopen"): "a lock that store/files.py has opened; nothing is written",
    ("process/warm.py", "chmod"): "a socket for its owner alone",
    ("process/warm.py", "os.open"): "a folder, read-only, to name a socket in it",
    ("process/warm.py", "write_text"): "a reply, as in process/scoring/scorer.py",
    ("questions/lives.py", "write_text"): "how far a backtest is, for who waits; a lost word is followed by the next",
    ("store/registry.py", "chmod"): "the card of a version in the registry of a backtest, which no service reads",
    ("process/tree.py", "os.open"): "/proc, read-only: by hand it is read in half the time",
    (
        "process/scoring/confinement.py",
        "write_text",
    ): "/proc: the child that loads a model is the first to go where memory runs out",
    (
        "engines/parts.py",
        "tempfile.TemporaryDirectory",
    ): "a part of a log for DuckDB to read, in the system's own temp folder",
    ("engines/parts.py", "write_bytes"): "as above",
    ("store/scratch.py", "tempfile.TemporaryDirectory"): "what a question needs, in the system's own temp folder",
    ("store/scratch.py", "tempfile.gettempdir"): "asks, and writes nothing",
    (
        "serving/written_log.py",
        "os.write",
    ): "one line, one write, to a log that is opened by store/files.py; a lost row is counted",
}
"""Calls that may stand elsewhere, by file."""

CHANGING = {
    "os": {"open", "rename", "replace", "renames", "unlink", "remove", "removedirs", "mkdir", "makedirs", "rmdir"}
    | {"chmod", "fchmod", "lchmod", "chown", "truncate", "ftruncate", "write", "pwrite", "writev", "link", "symlink"}
    | {"mkfifo", "mknod", "utime", "sendfile", "copy_file_range", "posix_fallocate", "fdopen"},
    "shutil": {"*"},
    "tempfile": {"*"},
    "sqlite3": {"connect"},
}
METHODS = {"write_text", "write_bytes", "unlink", "mkdir", "rmdir", "chmod", "lchmod", "touch", "symlink_to"}
METHODS |= {"hardlink_to"}
RENAMES = {"rename", "replace"}  # with one argument: a string's `replace` has two


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_change_to_a_file_goes_through_one_module(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    if name in ELSEWHERE:
        return
    found = [(line, call) for line, call in changes(path.read_text()) if (name, call) not in CALLS]
    assert found == [], f"{name} changes files by itself; use store/files.py"


def test_every_exception_is_still_needed() -> None:
    found = {(name, call) for name in {name for name, _ in CALLS} for _, call in changes((PACKAGE / name).read_text())}
    assert set(CALLS) - found == set()


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("Path('x').write_text('y')", "write_text"),
        ("path.unlink(missing_ok=True)", "unlink"),
        ("path.rename(other)", "rename"),
        ("path.open('a')", "open"),
        ("path.open(mode='r+b')", "open"),
        ("open('x', 'w')", "open"),
        ("open(name, mode)", "open"),
        ("import os as o\no.rename('a', 'b')", "os.rename"),
        ("from os import replace\nreplace('a', 'b')", "os.replace"),
        ("import shutil\nshutil.copy('a', 'b')", "shutil.copy"),
        ("def f():\n    from tempfile import mkdtemp\n    mkdtemp()", "tempfile.mkdtemp"),
        ("connection.execute(f\"copy (SELECT 1) TO '{x}' (FORMAT parquet)\")", "COPY TO"),
        ("import sqlite3\nsqlite3.connect('x')", "sqlite3.connect"),
    ],
)
def test_a_change_is_found(source: str, call: str) -> None:
    assert [found for _, found in changes(source)] == [call]


@pytest.mark.parametrize(
    "source",
    ["open('x')", "path.open()", "path.open('rb')", "'a'.replace('b', 'c')", "os.listdir('x')", "path.read_text()"],
)
def test_a_question_is_no_change(source: str) -> None:
    assert list(changes(f"import os\n{source}")) == []


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "pointer.json"
    files.write(path, b"old", mode=0o600)
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".pointer.json.{os.getpid()}.tmp").symlink_to(victim)
    files.write(tmp_path / "pointer.json", b"new")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "pointer.json").is_symlink()


def test_what_a_killed_writer_left_beside_its_file_is_cleared(tmp_path: Path) -> None:
    for name in (".pointer.json.17.tmp", ".pointer[1].json.18.tmp", "pointer.json", "other.tmp"):
        (tmp_path / name).write_text("")
    files.clear_beside(tmp_path / "pointer.json")
    files.clear_beside(tmp_path / "pointer[1].json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.tmp", "pointer.json"]


def test_a_private_folder_is_private_from_the_start(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.make_folder(tmp_path / "a/state", mode=0o700)
    finally:
        os.umask(before)
    assert (tmp_path / "a/state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755


def changes(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each call that changes a file or may do so."""
    tree = ast.parse(source)
    names = dict(imported(tree))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (call := changing(node, names)):
            found.add((node.lineno, call))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "copy (" in node.value.lower():
            found.add((node.lineno, "COPY TO"))
    yield from sorted(found)


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield what each imported name stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def changing(call: ast.Call, names: dict[str, str]) -> str | None:
    whole = ast.unparse(call.func)
    head, _, last = whole.rpartition(".")
    full = f"{names[head]}.{last}" if head in names else names.get(whole, whole)
    module, _, function = full.partition(".")
    if module in CHANGING and (function in CHANGING[module] or "*" in CHANGING[module]):
        return full
    if full == "open":
        return "open" if writes(call, 1) else None
    if head and last == "open" and names.get(head) is None:
        return "open" if writes(call, 0) else None
    if head and (last in METHODS or (last in RENAMES and len(call.args) == 1 and not call.keywords)):
        return last if names.get(head) is None else None
    return None


def writes(call: ast.Call, position: int) -> bool:
    """Say whether a call of `open` may write: its mode says so, or is not written out."""
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[position : position + 1]
    return any(not isinstance(mode, ast.Constant) or set(str(mode.value)) & set("wax+") for mode in modes)
