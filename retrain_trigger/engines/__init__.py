"""The same counts from any engine that holds the rows.

Use it as `from retrain_trigger import engines`, then `engines.tallies`: that loads the module, and DuckDB with it.
"""

from typing import TYPE_CHECKING

from retrain_trigger.core.doors import opening

__all__ = [
    "counted",
    "description",
    "labelled",
    "leakage",
    "logged_requests",
    "past",
    "plan",
    "prediction_log",
    "reading",
    "shadow_log",
    "sources",
    "stream",
    "tallies",
    "waiting",
]

if TYPE_CHECKING:
    from retrain_trigger.engines import (
        counted,
        description,
        labelled,
        leakage,
        logged_requests,
        past,
        plan,
        prediction_log,
        reading,
        shadow_log,
        sources,
        stream,
        tallies,
        waiting,
    )
else:
    __getattr__ = opening(__name__, __all__)
