"""Rare bins, pooled: a test of few rows is noise."""

from collections.abc import Sequence

from retrain_trigger.counts.histograms import Bins, Histogram

EXPECTED_ROWS = 5.0
"""A bin with a smaller expected count is rare: logarithms of such counts are noise (Cochran, Biometrics, 1954)."""


def pooled(reference: Histogram, window: Histogram, bins: Bins) -> list[tuple[int, int]]:
    """Return (rows of the reference, rows of the window) by bin, rare bins pooled and empty ones left out.

    A bin is rare where fewer than EXPECTED_ROWS are expected in the smaller of both samples were they alike:
    min(n, m) * (rows in both) / (n + m). Neighbours of a numeric column, and categories in order of their rows in both
    (then of their text), are pooled until so many are expected; what remains is added to the last such pool of
    the same run, or stands alone and rare. *Missing* is never pooled. Looking at both samples' rows together, never at
    how they are split between them, keeps a test of that split honest; one pool for all would hide that one of 200
    rare categories has taken over.

    >>> bins = Bins.categorical({"a": 900, "b": 40, "c": 30, "d": 30})
    >>> pooled(Histogram((900, 40, 30, 30, 0, 0)), Histogram((45, 2, 1, 1, 0, 1)), bins)
    [(100, 4), (900, 45), (0, 1)]
    """
    pairs = list(zip(reference.counts, window.counts, strict=True))
    if len(pairs) != bins.size:
        raise ValueError(f"{len(pairs)} counts for {bins.size} bins: they were counted by other bins")
    scale = expected_scale(reference.rows, window.rows)
    *valued, missing = pairs
    if not bins.numeric_column:
        valued = [pair for pair, _ in sorted(zip(valued, bins.labels, strict=False), key=_total_and_text)]
    return [pair for pair in (*_pooled_runs([pair for pair in valued if sum(pair)], scale), missing) if sum(pair)]


def expected_scale(reference_rows: int, window_rows: int) -> float:
    """Return what the rows of a bin in both samples are multiplied by to be expected in the smaller; 0 for no rows."""
    total = reference_rows + window_rows
    return min(reference_rows, window_rows) / total if total else 0.0


def _pooled_runs(pairs: Sequence[tuple[int, int]], scale: float) -> list[tuple[int, int]]:
    done: list[tuple[int, int]] = []
    run: list[tuple[int, int]] = []  # pools of neighbouring rare bins; only the last may still be too small
    for pair in pairs:
        if sum(pair) * scale >= EXPECTED_ROWS:
            done += [*_closed(run, scale), pair]
            run = []
        elif run and sum(run[-1]) * scale < EXPECTED_ROWS:
            run[-1] = _both(run[-1], pair)
        else:
            run.append(pair)
    return [*done, *_closed(run, scale)]


def _closed(run: list[tuple[int, int]], scale: float) -> list[tuple[int, int]]:
    if len(run) > 1 and sum(run[-1]) * scale < EXPECTED_ROWS:
        return [*run[:-2], _both(run[-2], run[-1])]
    return run


def _both(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    return one[0] + two[0], one[1] + two[1]


def _total_and_text(labelled: tuple[tuple[int, int], str]) -> tuple[int, str]:
    pair, label = labelled
    return sum(pair), label
