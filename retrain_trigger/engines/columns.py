"""Where a column is cut into bins, and how many rows fall into each: as DuckDB counts them."""

from collections.abc import Mapping

import duckdb

from retrain_trigger.counts.histograms import Bins, Histogram
from retrain_trigger.engines import portable
from retrain_trigger.engines.portable import DUCKDB
from retrain_trigger.engines.sql import kind_of, quoted

_QUANTILES = tuple(step / 10 for step in range(1, 10))
_ATOM = 0.1  # a value that holds this share of the rows has a bin of its own
_FREQUENT = 1000  # categories that are handed on; the judgement keeps fewer


def cuts(
    connection: duckdb.DuckDBPyConnection, relation: str, where: str, types: Mapping[str, str], *, half: str
) -> dict[str, Bins]:
    """Cut each column of a reference into bins, by how its values are spread; columns of other kinds are not there.

    Those of text and booleans are chosen among the rows of one `half`.
    """
    found: dict[str, Bins] = {}
    for name, type_name in types.items():
        kind = kind_of(type_name)
        if kind == "number":
            found[name] = _numeric(connection, relation, where, quoted(name))
        elif kind in {"text", "boolean"}:
            rows = connection.execute(
                f"SELECT {quoted(name)}::VARCHAR AS v, count(*) AS n FROM {relation} WHERE ({where}) AND {half} "
                f"AND {quoted(name)} IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT {_FREQUENT}"
            ).fetchall()
            found[name] = Bins.categorical(dict(rows))
    return found


def histograms(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    where: str,
    columns: Mapping[str, Bins],
    *,
    half: str,
) -> dict[str, Histogram]:
    """Count the rows in each bin of each column; a column that is counted must be there.

    Categories are counted on the rows outside the `half` that their bins were chosen on: values chosen for being
    frequent there would hold more rows there than anywhere else, and the next window would seem to have moved.
    """
    found: dict[str, Histogram] = {}
    for name, bins in columns.items():
        column = f"try_cast({quoted(name)} AS DOUBLE)" if bins.numeric_column else f"{quoted(name)}::VARCHAR"
        others = "" if bins.numeric_column else f" AND NOT ({half})"
        place = f"CAST({portable.place(DUCKDB, column, bins)} AS VARCHAR)"
        query = f"SELECT {place}, count(*) FROM {relation} WHERE ({where}){others} GROUP BY 1"
        counts = [0] * bins.size
        for value, rows in connection.execute(query).fetchall():
            counts[portable.number(bins, value)] += rows
        found[name] = Histogram(tuple(counts))
    return found


def _numeric(connection: duckdb.DuckDBPyConnection, relation: str, where: str, column: str) -> Bins:
    number = f"{column}::DOUBLE"
    values = f"(SELECT {number} AS v FROM {relation} WHERE ({where}) AND isfinite({number}))"
    quantiles, low, high, rows = connection.execute(
        f"SELECT quantile_disc(v, {list(_QUANTILES)}), min(v), max(v), count(*) FROM {values}"
    ).fetchone() or (None, None, None, 0)
    atoms = connection.execute(
        f"SELECT v FROM {values} GROUP BY v HAVING count(*) >= {_ATOM} * {rows} ORDER BY v"
    ).fetchall()
    return Bins.numeric(quantiles or [], [atom for (atom,) in atoms], low=low, high=high)
