"""The gate's own proof: before it is trusted with a challenger, it must refuse what no gate may let through."""

from collections.abc import Callable, Iterable, Mapping

from retrain_trigger.core.findings import Finding, Verdict
from retrain_trigger.counts.confusion import JointCounts
from retrain_trigger.judge.gates import gates

SPOILED = 0.10
"""Share of the champion's right answers that are made wrong."""

Court = Callable[[JointCounts], Iterable[Finding]]


def failures(joint: JointCounts, court: Court, *, margin: float) -> tuple[str, ...]:
    """Return what the gate would let through though it must not, in words; empty if it proved itself.

    `court` judges a table of counts by every gate, as it judged the challenger on `joint`; `margin` is the one it asks
    for. It must refuse the champion against itself, the champion with SPOILED of its right answers made wrong, and,
    where it accepts the challenger, the two exchanged. The gates of gates.IMPROVEMENT must each refuse them on their
    own; that of the margin only if there is one.

    >>> joint = JointCounts({("1", "0", "1"): 60, ("1", "1", "1"): 40, ("0", "0", "0"): 100})
    >>> len(failures(joint, lambda _: [Finding(name="x", verdict=Verdict.PASS, value=1, limit=1, because="")], margin=0))
    3
    """
    own = gates.IMPROVEMENT - (frozenset() if margin > 0 else {"margin"})
    planted = {name: plant(joint) for name, plant in PLANTED.items()}
    if gates.promotes(court(joint)):
        planted["champion and challenger exchanged"] = joint.exchanged()
    return tuple(name for name, table in planted.items() if not _refused(court(table), own))


def itself(joint: JointCounts) -> JointCounts:
    """Return the table of the champion against itself.

    >>> itself(JointCounts({("1", "0", "1"): 3, ("1", "1", "1"): 7})).cells
    {('1', '0', '0'): 3, ('1', '1', '1'): 7}
    """
    return JointCounts({(label, said, said): count for (label, said), count in joint.champion.cells.items()})


def spoiled(joint: JointCounts) -> JointCounts:
    """Return the table of the champion against a copy that answers SPOILED of its right answers wrong.

    Of each label at least one, so that a small table is spoiled, too; the wrong answer is the next of the classes.

    >>> spoiled(JointCounts({("1", "1", "0"): 50, ("0", "1", "0"): 3})).cells
    {('0', '1', '1'): 3, ('1', '1', '0'): 5, ('1', '1', '1'): 45}
    """
    cells = dict(itself(joint).cells)
    classes = joint.champion.labels
    if len(classes) == 1:
        classes = (*classes, f"not {classes[0]}")
    for place, label in enumerate(classes):
        right = cells.get((label, label, label), 0)
        wrong = min(right, max(1, round(right * SPOILED)))
        if wrong:
            cells[label, label, label] = right - wrong
            cells[label, label, classes[(place + 1) % len(classes)]] = wrong
    return JointCounts(dict(sorted(cells.items())))


def _refused(findings: Iterable[Finding], own: frozenset[str]) -> bool:
    """Say whether the court refuses, and each gate of `own` by itself."""
    told = list(findings)
    refusing = {finding.name for finding in told if finding.verdict is not Verdict.PASS}
    return not gates.promotes(told) and own <= refusing


PLANTED: Mapping[str, Callable[[JointCounts], JointCounts]] = {
    "the champion against itself": itself,
    f"a copy of the champion with {SPOILED:.0%} of its right answers made wrong": spoiled,
}
