"""How a backtest is shown."""

from collections.abc import Iterator

from retrain_trigger.core.findings import figures
from retrain_trigger.questions.backtest import Beside, Report, left_out
from retrain_trigger.questions.lives import REACH

_NAME = 30
_RULES = {
    "never": "the first champion for ever",
    "periodic": f"as many trainings in even steps, on the last {REACH} windows, always promoted",
    "every window": f"a training after each window, on the last {REACH} windows, always promoted",
    "threshold": f"a training after each window under the threshold, on the last {REACH} windows, always promoted",
}


def lines(report: Report) -> list[str]:
    """Write what the policy was worth: beside plain rules, beside other settings, in its worst stretch."""
    return list(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    metric = report.metric
    begin, end = report.windows[0], report.windows[-1] + report.length
    yield f"{metric} {report.score:.4f}: what was live in {len(report.windows)} windows, {begin:%Y-%m-%d} to {end:%Y-%m-%d}"
    yield ""
    yield f"{'':<{_NAME}} {metric:>10} {'trainings':>9} {'seconds':>8}   live is better by, 95 % interval"
    yield f"{'live':<{_NAME}} {report.score:>10.4f} {report.trainings:>9} {report.seconds:>8.1f}"
    for other in report.others:
        yield _row(other)
    if report.tried:
        yield ""
        yield from (_row(other) for other in report.tried)
    yield ""
    yield from (f"{name}: {rule}" for name, rule in _RULES.items())
    yield ""
    yield from _attempts(report)
    start, stop, own, never = report.stretch
    yield f"worst stretch: {start:%Y-%m-%d} to {stop:%Y-%m-%d}, {metric} {own:.4f} live, {never:.4f} never"
    yield from left_out(report.left_out)
    yield from _change(report)


def _row(other: Beside) -> str:
    gain = other.gain
    return (
        f"{other.name:<{_NAME}} {other.score:>10.4f} {other.trainings:>9} {other.seconds:>8.1f}   "
        f"{gain.difference:+.4f}, {gain.lower:+.4f} to {gain.upper:+.4f}"
    )


def _attempts(report: Report) -> Iterator[str]:
    counts = []
    for promoted in (True, False):
        some = [each for each in report.live.attempts if each.promoted is promoted]
        counts.append(f"{len(some)} ({sum(each.wrong for each in some)} wrongly)")
    yield f"attempts: {len(report.live.attempts)}; promoted {counts[0]}, kept the champion {counts[1]}"
    yield (
        f"wrongly: in the windows up to the next attempt, at most {REACH}, the promoted model did worse than the one before, "
        "or a refused one would have been better by the margin"
    )


def _change(report: Report) -> Iterator[str]:
    """Name the settings that were best, if they are better than those that hold by more than chance explains."""
    better = [other for other in report.tried if other.gain.upper < 0]
    if better:
        best = min(better, key=lambda other: other.gain.difference)
        shown = figures(-best.gain.difference)[0]
        yield f"to change: {best.name.replace('=', ': ')} is better by {shown}, beyond chance"
    elif report.tried:
        yield "to change: nothing; none of the settings tried is better beyond chance"
