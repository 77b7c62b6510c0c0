"""Where a column is cut into bins, and how many rows fall into each: as DuckDB counts them."""

from collections.abc import Mapping
from typing import Any

import duckdb

from retrain_trigger.world.tables import kind_of, quoted, text

_QUANTILES = tuple(step / 10 for step in range(1, 10))
_ATOM = 0.1  # a value that holds this share of the rows has a bin of its own
_FREQUENT = 1000  # categories that are handed on; the judgement keeps fewer


def cuts(
    connection: duckdb.DuckDBPyConnection, relation: str, where: str, types: Mapping[str, str], *, half: str
) -> dict[str, dict[str, Any]]:
    """Describe how each column of a reference is spread, missing values left out.

    Numbers: `quantiles` at 10 %, 20 %, ... (of the values there are), `atoms` (values that hold a tenth of the rows),
    `low` and `high` (None where there is no number). Text and booleans: `counts` of the most frequent values, among
    the rows of one `half`. Columns of other kinds are not there.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, type_name in types.items():
        kind = kind_of(type_name)
        if kind == "number":
            found[name] = _numeric(connection, relation, where, quoted(name))
        elif kind in {"text", "boolean"}:
            rows = connection.execute(
                f"SELECT {quoted(name)}::VARCHAR AS v, count(*) AS n FROM {relation} WHERE ({where}) AND {half} "
                f"AND {quoted(name)} IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT {_FREQUENT}"
            ).fetchall()
            found[name] = {"counts": dict(rows)}
    return found


def histograms(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    where: str,
    plan: Mapping[str, Mapping[str, Any]],
    *,
    half: str,
) -> dict[str, list[int]]:
    """Count the rows in each bin of each column; a column of the plan must be there.

    Categories are counted on the rows outside the `half` that their bins were chosen on: values chosen for being
    frequent there would hold more rows there than anywhere else, and the next window would seem to have moved.
    """
    if not plan:
        return {}
    others = f"FILTER (NOT ({half}))"
    chosen = ", ".join(
        f"histogram({place(quoted(name), cut)}) {others if 'values' in cut else ''}" for name, cut in plan.items()
    )
    row = connection.execute(f"SELECT {chosen} FROM {relation} WHERE {where}").fetchone() or ()
    return {
        name: [int((counts or {}).get(number, 0)) for number in range(cut["size"])]
        for (name, cut), counts in zip(plan.items(), row, strict=True)
    }


def place(column: str, cut: Mapping[str, Any]) -> str:
    """Return SQL for the place of the bin that a value falls into; the last place is that of missing values.

    `cut` is `{"bounds": [[bound, takes], ...], "size": n}` for numbers, `{"values": [...], "size": n}` for categories.
    """
    missing = cut["size"] - 1
    if "values" in cut:
        chosen = " ".join(f"WHEN {text(value)} THEN {number}" for number, value in enumerate(cut["values"]))
        other = len(cut["values"])
        named = f"CASE {column}::VARCHAR {chosen} ELSE {other} END" if chosen else str(other)
        return f"CASE WHEN {column} IS NULL THEN {missing} ELSE {named} END"
    number = f"try_cast({column} AS DOUBLE)"
    above = " + ".join(
        f"({number} {'>' if takes else '>='} {bound!r}::DOUBLE)::INTEGER" for bound, takes in cut["bounds"]
    )
    return f"CASE WHEN {number} IS NULL OR isnan({number}) THEN {missing} ELSE {above or '0'} END"


def _numeric(connection: duckdb.DuckDBPyConnection, relation: str, where: str, column: str) -> dict[str, Any]:
    number = f"{column}::DOUBLE"
    values = f"(SELECT {number} AS v FROM {relation} WHERE ({where}) AND isfinite({number}))"
    quantiles, low, high, rows = connection.execute(
        f"SELECT quantile_disc(v, {list(_QUANTILES)}), min(v), max(v), count(*) FROM {values}"
    ).fetchone() or (None, None, None, 0)
    atoms = connection.execute(
        f"SELECT v FROM {values} GROUP BY v HAVING count(*) >= {_ATOM} * {rows} ORDER BY v"
    ).fetchall()
    return {"quantiles": quantiles or [], "atoms": [atom for (atom,) in atoms], "low": low, "high": high}
