"""Packages whose modules are loaded at their first use: a healthy day does not pay for what it does not need."""

from collections.abc import Callable, Collection
from importlib import import_module
from types import ModuleType


def opening(package: str, names: Collection[str]) -> Callable[[str], ModuleType]:
    """Return the `__getattr__` of a package: it loads the module that is asked for, one of `names` (PEP 562)."""

    def load(name: str) -> ModuleType:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return load
