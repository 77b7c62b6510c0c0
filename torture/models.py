"""A zoo of bad models: none is promoted, each is refused with a reason, and the next run is an ordinary one.

Run as `python torture/models.py [--number N] [--seed S]`; prints what went wrong, and exits with 1 where anything did.
"""

import sys
from typing import Any, NamedTuple

import zoo
from projects import Project

HEAD = """
import ctypes, mmap, os, signal, sys, threading, time
import numpy as np
import pandas as pd

class Model:
    column = "new"
    def __init__(self):
        self.feature_names_in_ = ["old", "new", "slight", "worse"]
    def right(self, table):
        return table[self.column].to_numpy()
    def predict(self, table):
        return self.right(table)
"""

TRAIN = """
import os, sys, joblib, animal
joblib.dump(animal.Animal(), os.environ["RETRAIN_OUTPUT"])
"""


class Animal(NamedTuple):
    """A model: the body of `class Animal(Model)`, what the run must say of it, and the exit codes allowed.

    `train` stands in the place of the script that saves an instance of it. `sound` says that it is as good as it
    looks, so that it may be promoted.
    """

    body: str = ""
    says: str = ""
    codes: frozenset[int] = frozenset({0, 6})
    train: str = TRAIN
    sound: bool = False


def run(**chosen: Any) -> tuple[int, list[str]]:
    """Meet some or all of them, as `zoo.run` does."""
    return zoo.run(MODELS, met, **chosen)


def met(project: Project, animal: Animal) -> list[str]:
    """Let a run train and judge one model; return what was not as it must be."""
    body = "".join(f"    {line}\n" for line in animal.body.strip("\n").splitlines()) or "    pass\n"
    project.write("animal.py", f"{HEAD}\nclass Animal(Model):\n{body}")
    project.write("train.py", animal.train)
    project.makefile(f"@{sys.executable} train.py")
    champion = project.pointer["version"]
    code, said = zoo.tick(project, day=4)
    wrong = []
    if code not in animal.codes:
        wrong.append(f"exit {code}, not one of {sorted(animal.codes)}: {said[-600:]}")
    if "Traceback" in said:
        wrong.append(f"a traceback reached the person: {said[-600:]}")
    if animal.says not in said:
        wrong.append(f"{animal.says!r} was not said, but: {said[-600:]}")
    if not animal.sound and project.pointer["version"] != champion:
        wrong.append(f"it was promoted: {said[-600:]}")
    if living := zoo.left_alive(project):
        wrong.append(f"processes are left: {living}")
    code, said = zoo.tick(project, day=4.5)
    if code != 0:
        wrong.append(f"the next run: exit {code}: {said[-600:]}")
    return wrong + [f"left lying about: {name}" for name in zoo.untidy(project)]


def _predicts(expression: str, says: str = "", **more: object) -> Animal:
    return Animal(f"def predict(self, table):\n    return {expression}", says, **more)  # type: ignore[arg-type]


def _does(statement: str, says: str = "", **more: object) -> Animal:
    lines = "\n".join(f"    {line}" for line in statement.splitlines())
    return Animal(f"def predict(self, table):\n{lines}\n    return self.right(table)", says, **more)  # type: ignore[arg-type]


def _saves(expression: str, says: str = "") -> Animal:
    train = f"import os, joblib, pickle, zipfile, io, animal\nout = os.environ['RETRAIN_OUTPUT']\n{expression}\n"
    return Animal(train=train, says=says)


UNUSABLE = "could not be used"
MODELS: dict[str, Animal] = {
    "other_features": Animal("def __init__(self):\n    self.feature_names_in_ = ['age', 'income']", "age"),
    "missing_feature": Animal("def __init__(self):\n    self.feature_names_in_ = ['old', 'new', 'gone']", "gone"),
    "asks_for_the_label": Animal(
        "column = 'label'\ndef __init__(self):\n    self.feature_names_in_ = ['label']", "label"
    ),
    "other_classes": _predicts("np.where(self.right(table) == 1, 'yes', 'no')", "kept"),
    "swapped_classes": _predicts("1 - self.right(table)", "kept"),
    "one_class": _predicts("np.zeros(len(table), int)", "kept"),
    "a_little_worse": Animal("column = 'worse'", "kept"),
    "nan": _predicts("np.full(len(table), np.nan)", "not finite"),
    "one_nan": _predicts("np.where(np.arange(len(table)) == 3, np.nan, self.right(table))", "not finite"),
    "infinity": _predicts("np.full(len(table), np.inf)", "not finite"),
    "none": _predicts("[None] * len(table)", "None"),
    "nothing": _predicts("None", "predict gives one NoneType"),
    "one_number": _predicts("1", "predict gives one int"),
    "too_few": _predicts("self.right(table)[:-1]", "predictions for"),
    "too_many": _predicts("np.append(self.right(table), 1)", "predictions for"),
    "empty_array": _predicts("np.array([])", "predictions for"),
    "scalar_array": _predicts("np.array(1)", "shape"),
    "two_columns": _predicts("np.column_stack([self.right(table)] * 2)", "shape"),
    "probabilities": _predicts("np.column_stack([1 - self.right(table), self.right(table)]) * 0.9", "shape"),
    "row_vector": _predicts("self.right(table).reshape(1, -1)", "shape"),
    "wide_table": _predicts("pd.DataFrame({'a': self.right(table), 'b': 1})", "shape"),
    "text": _predicts("''.join(map(str, self.right(table)))", "predict gives one str"),
    "bytes": _predicts("bytes(self.right(table).astype('uint8'))", "predict gives one bytes"),
    "generator": _predicts("(value for value in self.right(table))", "predict gives one generator"),
    "endless_generator": _predicts("__import__('itertools').repeat(1)", "predict gives one repeat"),
    "set": _predicts("set(range(len(table)))", "predict gives one set"),
    "dict": _predicts("dict(enumerate(self.right(table)))", "predict gives one dict"),
    "objects": _predicts("[object() for _ in range(len(table))]", "predicts a object"),
    "lists": _predicts("[[1]] * len(table)", "predicts a list"),
    "long_labels": _predicts("['x' * 100_000] * len(table)", "characters"),
    "regression": _predicts("self.right(table) + np.random.default_rng(7).normal(size=len(table)) / 10", "kept"),
    "control_characters": _predicts(r"['\x1b[31m\u202e%d' % value for value in self.right(table)]", "kept"),
    "strange_exception": _does(
        "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd", "Odd"
    ),
    "loud_exception": _does("raise ValueError('x' * 10_000_000)", UNUSABLE),
    "system_exit": _does("raise SystemExit(0)", "SystemExit"),
    "sys_exit_one": _does("sys.exit(1)", "SystemExit"),
    "keyboard_interrupt": _does("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "base_exception": _does("raise BaseException('odd')", "BaseException"),
    "recursion": _does("self.predict(table)", UNUSABLE),
    "os_exit_zero": _does("os._exit(0)", "left no reply"),
    "os_exit_one": _does("os._exit(1)", "ended with 1"),
    "abort": _does("os.abort()", UNUSABLE),
    "segmentation_fault": _does("ctypes.string_at(0)", UNUSABLE),
    "kills_itself": _does("os.kill(os.getpid(), signal.SIGKILL)", "ended with -9"),
    "kills_its_group": _does("os.killpg(0, signal.SIGTERM)", UNUSABLE),
    "memory_bomb": _does("hoard = []\nwhile True:\n    hoard.append(mmap.mmap(-1, 1 << 32))", UNUSABLE),
    "one_huge_array": _does("np.ones(1 << 45)", "MemoryError"),
    "huge_file": _does("with open('huge', 'wb') as file:\n    file.truncate(1 << 40)", UNUSABLE),
    "many_processes": _does(
        "for _ in range(700):\n    if os.fork() == 0:\n        time.sleep(300)\n        os._exit(0)\ntime.sleep(300)",
        "processes",
    ),
    "leaves_a_daemon": _does(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(300)\n    os._exit(0)",
        sound=True,
    ),
    "hangs": _does("time.sleep(3000)", "did not end within", codes=frozenset({6})),
    "hangs_deaf": _does(
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):\n    signal.signal(number, signal.SIG_IGN)\n"
        "while True:\n    pass",
        "did not end within",
    ),
    "hangs_while_loading": Animal("def __setstate__(self, state):\n    time.sleep(3000)", "did not end within"),
    "fails_while_loading": Animal("def __setstate__(self, state):\n    raise ImportError('libodd.so')", "libodd.so"),
    "prints": _does("print('x' * 50_000_000)\nprint('y', file=sys.stderr)", sound=True),
    "closes_everything": _does("os.closerange(0, 1000)", sound=True),
    "changes_its_input": _does("right = self.right(table).copy()\ntable.iloc[:, :] = 0\nreturn right", sound=True),
    "changes_folder": _does("os.chdir('/')", sound=True),
    "threads": _does("threading.Thread(target=time.sleep, args=(300,)).start()", UNUSABLE),
    "by_time": Animal(
        "calls = 0\ndef predict(self, table):\n    return np.full(len(table), time.time_ns() % 2)", "kept"
    ),
    "forges_a_broken_reply": _does(
        "import glob\nfor name in glob.glob('.retrain-check/runs/*/'):\n"
        "    open(name + 'model.reply.json', 'w').write('[]')\nraise SystemExit(0)",
        UNUSABLE,
    ),
    "forges_a_reply": _does(
        "frame = sys._getframe()\nwhile 'request' not in frame.f_locals or 'reply' not in frame.f_locals['request']:\n"
        "    frame = frame.f_back\nopen(frame.f_locals['request']['reply'], 'w').write('{\"features\": 3}')\nos._exit(0)",
        "left no reply",
    ),
    "no_predict": _saves("joblib.dump({'weights': [1, 2]}, out)", UNUSABLE),
    "a_function": _saves("joblib.dump(animal.Model.predict, out)", UNUSABLE),
    "a_class": _saves("joblib.dump(animal.Model, out)", UNUSABLE),
    "text_file": _saves("open(out, 'w').write('a model')", UNUSABLE),
    "zip_file": _saves("zipfile.ZipFile(out, 'w').writestr('model', 'x' * 1000)", UNUSABLE),
    "noise": _saves("open(out, 'wb').write(os.urandom(10_000))", UNUSABLE),
    "cut_off": _saves("data = pickle.dumps(animal.Animal())\nopen(out, 'wb').write(data[:-20])", UNUSABLE),
    "bit_flip": _saves(
        "data = bytearray(pickle.dumps(animal.Animal()))\ndata[12] ^= 0x20\nopen(out, 'wb').write(data)", UNUSABLE
    ),
    "module_missing": _saves(
        "open(out, 'wb').write(pickle.dumps(animal.Animal()).replace(b'animal', b'anomal'))", UNUSABLE
    ),
    "one_byte": _saves("open(out, 'wb').write(b'x')", UNUSABLE),
}


if __name__ == "__main__":
    zoo.visit(run, called="bad models", about=__doc__)
