"""What a log is that a person names: one of metrics or one of predictions, as its content says."""

import csv
from contextlib import suppress
from glob import has_magic
from pathlib import Path

from retrain_trigger import engines
from retrain_trigger.config.load import Config
from retrain_trigger.core.errors import DataError
from retrain_trigger.logs.formats import json_records
from retrain_trigger.logs.record import metric_names, normal

OPENING_LINES = 20
"""So many lines say what a file holds."""

COUNTS = frozenset({"tp", "fp", "fn", "tn"})


def is_prediction_log(config: Config, path: Path) -> bool:
    """Say whether there are rows of predictions at a path: a folder, a glob, Parquet, or a table with their column.

    A table that holds the metric as well is a metrics log, unless it has a column of labels.
    """
    if path.is_dir() or (has_magic(str(path)) and not path.exists()) or path.suffix == ".parquet":
        return True
    columns, names = config.logs.columns, _names(path)
    if columns.prediction not in names:
        return False
    held = {normal(name) for name in names}
    return columns.label in names or not (held >= COUNTS or held & set(metric_names(config.metric)))


def _names(path: Path) -> set[str]:
    """Return the names that the first lines of a file hold: of JSON objects, or of the columns of a table."""
    try:
        text = engines.sources.beginning(str(path)).decode("utf-8-sig", errors="replace")
    except (OSError, DataError):
        return set()  # whoever reads it says what is wrong
    lines = [line for line in text.splitlines()[:OPENING_LINES] if line.strip()]
    names: set[str] = set()
    for line in lines:
        with suppress(ValueError):
            names.update(name for record in json_records(line) for name in record)
    if names or not lines:
        return names
    with suppress(csv.Error):
        names.update(next(csv.reader(lines[:1], delimiter=max(",;\t", key=lines[0].count))))
    return names
