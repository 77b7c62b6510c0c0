"""How a sweep over a log is shown."""

from collections.abc import Iterator

from retrain_trigger.core.findings import figures
from retrain_trigger.questions.sweep import SOON, Part, Sweep, Tried

_LEGEND = (
    f"fall: from a window on the wrong side of the threshold, as are the next ones (up to {SOON}, together), until all are back",
    "trainings: how many would have started, of each fall the first",
    "waited: windows on the wrong side in falls, until a training started",
    "after: how many these were in the median fall in which one started",
    "needless: trainings after which the next windows, together, were on the right side all the same",
    "again: further trainings in a fall, as if the champion had been kept; no log knows whether they would have come",
    "*: on the first two thirds, none has fewer trainings without waiting longer, or waits less without more trainings",
)


def lines(sweep: Sweep) -> list[str]:
    """Write what each setting would have come to, and whether to change any."""
    return list(_lines(sweep))


def _lines(sweep: Sweep) -> Iterator[str]:
    begin, cut, end = (at[:10] if "T" in at else at for at in sweep.times)
    limit = figures(sweep.threshold)[0]
    yield f"{sweep.metric} in {sweep.windows:,} windows, {begin} to {end}, held against performance_threshold {limit}"
    first, last = sweep.own.first.falls, sweep.own.last.falls
    yield f"falls: {first} in the first two thirds, {last} in the last (from {cut})"
    yield ""
    yield f"  {'first two thirds':<43} last third"
    yield f"  {'trainings':>9}{'waited':>8}{'after':>7}{'needless':>10}{'again':>7}  {'trainings':>9}{'waited':>8}   settings"
    for each in (sweep.own, *sweep.tried):
        yield _row(each)
    yield ""
    yield from _LEGEND
    for key in sweep.idle:
        yield f"{key} makes no difference here"
    yield ""
    yield from _verdict(sweep)


def _row(each: Tried) -> str:
    first, last = each.first, each.last
    after = "-" if first.after is None else f"{first.after:g}"
    return (
        f"{'*' if each.best else ' '} {first.trainings:>9,}{first.waited:>8,}{after:>7}{first.needless:>10,}{first.again:>7,}"
        f"  {last.trainings:>9,}{last.waited:>8,}   {each.name}"
    )


def _verdict(sweep: Sweep) -> Iterator[str]:
    """Say what was chosen, how that did on the windows that it was not chosen on, and what to change."""
    own, chosen = sweep.own, sweep.chosen
    if not own.first.falls:
        yield "to change: nothing; without a fall in the first two thirds there is nothing to choose by"
    elif chosen is None:
        yield (
            "to change: nothing; on the first two thirds, no setting tried has fewer trainings and waited no longer, or "
            "waited less with no more trainings"
        )
    else:
        yield f"chosen on the first two thirds: {chosen.name}; {_told(chosen.first)}; as configured: {_told(own.first)}"
        yield f"on the last third: {_told(chosen.last)}; as configured: {_told(own.last)}"
        yield (
            f"to change: {chosen.name.replace('=', ': ')}"
            if sweep.change
            else "to change: nothing; what was chosen is not better on the last third"
        )


def _told(part: Part) -> str:
    trainings = "1 training" if part.trainings == 1 else f"{part.trainings:,} trainings"
    windows = "1 window" if part.waited == 1 else f"{part.waited:,} windows"
    return f"{trainings}, {windows} waited"
