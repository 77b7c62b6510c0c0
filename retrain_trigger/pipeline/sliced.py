"""Slices of the prediction log under the settings: which are judged, by which rule."""

from collections.abc import Sequence

from retrain_trigger.config.load import Config
from retrain_trigger.config.sections import Evidence
from retrain_trigger.core.findings import Finding
from retrain_trigger.counts.windows import WindowCounts
from retrain_trigger.judge.checks import evidence, slices
from retrain_trigger.judge.checks.evidence import Memo
from retrain_trigger.judge.checks.windows import measured
from retrain_trigger.pipeline import detection


def sliced(config: Config, windows: Sequence[WindowCounts], *, positive: str, memo: Memo) -> Finding | None:
    """Judge each value of the columns in `trigger.slices` for itself; None if there are none, or no label yet.

    The finding only warns. `memo` is that of the judgement.
    """
    judged = [window for window in windows if window.labelled and window.coverage >= config.trigger.label_coverage]
    if not config.trigger.slices or not judged:
        return None
    found = slices.apart(judged, config.trigger.slices)
    if not found.windows:
        return slices.nothing(found)
    measurements = {which: measured(own, config.measure(positive), coverage=0) for which, own in found.windows.items()}
    if config.trigger.evidence is not Evidence.POINT:
        begin = detection.begin(config, among=len(measurements))
        detectors = {
            which: evidence.folded(begin, own, memo, ("slice", which.column, str(which.value)))
            for which, own in measurements.items()
        }
        return slices.check(detectors, found)
    points = {
        which: detection.by_point(config, own, config.trigger.patience)
        for which, own in measurements.items()
        if own[-1].at == judged[-1].at
    }
    return slices.check_points(points, found, metric=config.metric, threshold=config.threshold)
