"""How often a probation rolls back a champion that is as good as its predecessor, and how soon one that is worse.

One window a day. The predecessor served 30 windows with an F1 of 0.88 (threshold 0.85) and then either went on so
(its successor came by `--force` or drift), or fell to 0.78 and was replaced when the sequential evidence alarmed. The
successor serves seven more windows at the F1 that its predecessor had last, less 0, 0.05 or 0.10. Precision and recall
are equal, so F1 is their common value. `values` judges the same windows without their counts.
"""

from collections.abc import Iterator, Sequence
from statistics import median

import click
import numpy as np

from retrain_trigger.findings import Verdict
from retrain_trigger.judge import probation
from retrain_trigger.judge.evidence import Counts, Detector
from retrain_trigger.judge.probation import Window

THRESHOLD = 0.85
HEALTHY, FALLEN = 0.88, 0.78
TENURE, PROBATION = 30, 7
BLOCK = 10
MARGIN = 0.02
FALLS = (0.0, 0.05, 0.10)


@click.command()
@click.option("--repetitions", default=2000, show_default=True, help="Probations of each kind.")
@click.option("--rows", multiple=True, type=int, default=(200, 500, 1000, 5000), show_default=True, help="Rows a day.")
@click.option("--seed", default=1, show_default=True)
def main(*, repetitions: int, rows: tuple[int, ...], seed: int) -> None:
    """Print the table: the share rolled back of equally good ones, and within 1, 3 and 7 windows of worse ones."""
    print(
        "| rows a day | positives | windows swing | judged by | equally good, rolled back | worse by 0.05: within 3 "
        "| within 7 | worse by 0.10: within 1 | within 3 | within 7 |"
    )
    print("|---|---|---|---|---:|---:|---:|---:|---:|---:|")
    for number in rows:
        for positives in (0.1, 0.3):
            for swing, block, daily in (("as rows do", 1, 0.0), ("errors in tens", BLOCK, 0.0), ("sd 0.02", 1, 0.02)):
                for counted in (True, False):
                    generator = np.random.default_rng([seed, number, int(100 * positives), block, int(100 * daily)])
                    found = [
                        [one(generator, number, positives, block, daily, fall, counted=counted) for _ in range(repetitions)]
                        for fall in FALLS
                    ]
                    shares = [within(found[0], 7), within(found[1], 3), within(found[1], 7)]
                    shares += [within(found[2], windows) for windows in (1, 3, 7)]
                    cells = " | ".join(f"{share:.1%}" for share in shares)
                    print(f"| {number:,} | {positives:.0%} | {swing} | {'counts' if counted else 'values'} | {cells} |", flush=True)


def one(generator, rows, positives, block, daily, fall, *, counted):
    def served(level: float) -> Iterator[Counts]:
        while True:
            day = float(np.clip(level + generator.normal(0, daily), 0.01, 0.99)) if daily else level
            yield drawn(generator, rows, positives, day, block)

    fallen = generator.random() < 0.5
    healthy = served(HEALTHY)
    before = [next(healthy) for _ in range(TENURE)]
    if fallen:
        detector = Detector.begin("f1", threshold=THRESHOLD, false_alarm_every=1000)
        for counts in before:
            detector = detector.after(counts)
        bad = served(FALLEN)
        while not detector.alarms:
            before.append(next(bad))
            detector = detector.after(before[-1])
    was = probation.standing(
        "v1", windows(before, counted=counted), metric="f1", threshold=THRESHOLD, lower_is_better=False
    )
    successor = served((FALLEN if fallen else HEALTHY) - fall)
    now = [next(successor) for _ in range(PROBATION)]
    for number in range(1, PROBATION + 1):
        finding = probation.check(
            was, windows(now[:number], counted=counted), metric="f1", lower_is_better=False, margin=MARGIN,
            looks=PROBATION, min_rows=200,
        )
        if finding.verdict is Verdict.BREACH:
            return number
    return None


def windows(tables: Sequence[Counts], *, counted: bool) -> list[Window]:
    if counted:
        return [Window(None, None, each) for each in tables]
    return [Window(2 * tp / max(2 * tp + fp + fn, 1), None, None) for tp, fp, fn, _ in tables]


def drawn(generator, rows, positives, level, block) -> Counts:
    trials = rows // block
    truths = generator.binomial(trials, positives)
    tp = generator.binomial(truths, level)
    fp = generator.binomial(trials - truths, min(1.0, positives * (1 - level) / (1 - positives)))
    tp, fp, fn, tn = tp, fp, truths - tp, trials - truths - fp
    return (int(tp * block), int(fp * block), int(fn * block), int(tn * block))


def within(found, windows) -> float:
    return sum(each is not None and each <= windows for each in found) / len(found)


if __name__ == "__main__":
    main()
