"""Names, values and labels as DuckDB's SQL, and what its types hold."""


def quoted(name: str) -> str:
    """Return a column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return text as a SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def whole_id(found: str) -> str:
    """Return SQL for an id in text: 12.0, as programs write a whole number that they hold as a fraction, is 12."""
    return f"(CASE WHEN {found} LIKE '%.0%' THEN regexp_replace({found}, '^(-?[0-9]+)\\.0+$', '\\1') ELSE {found} END)"


def kind_of(type_name: str) -> str:
    """Return what a DuckDB type holds: number, text, boolean, time or other."""
    name = type_name.lower()
    if name.endswith("]"):  # a list, whatever of
        return "other"
    if name.startswith("timestamp"):
        return "time"
    if name.startswith((*_NUMBERS, "double", "decimal")):
        return "number"
    return "text" if name.startswith("enum") else _KINDS.get(name, "other")


def is_missing(name: str, kind: str) -> str:
    """Return the SQL condition for a column without a value: NULL, NaN or infinite."""
    absent = f"{quoted(name)} IS NULL"
    return f"({absent} OR NOT isfinite({quoted(name)}))" if kind in {"FLOAT", "DOUBLE"} else f"({absent})"


def canonical(column: str, kind: str) -> str:
    """Return SQL for a label as text: 1, 1.0 and true are all '1', so that they can be compared.

    NaN and infinity are no labels: null.
    """
    column, kind = plain(column, kind)
    if kind == "BOOLEAN":
        return f"{column}::INTEGER::VARCHAR"
    if kind in {"FLOAT", "DOUBLE"}:
        column = f"CASE WHEN isfinite({column}) THEN {column} END"
    said = f"trim(({column})::VARCHAR)"
    truth = f"CASE lower({said}) WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE {said} END"
    return f"regexp_replace({truth}, '^(-?[0-9]+)\\.0+$', '\\1')"


def plain(column: str, kind: str) -> tuple[str, str]:
    """Return a column and its type, as text where rows of JSON hold values of several types in it."""
    return (f"({column} ->> '$')", "VARCHAR") if kind == "JSON" else (column, kind)


_KINDS = {"boolean": "boolean", "varchar": "text", "date": "time", "time": "time"}

_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "hugeint", "ubig", "uint", "usm", "utiny", "uhuge", "float")
