"""Neighbours in a log without a copy of them: what a replay knows at one line after another costs what is new."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar, cast, overload

from retrain_trigger.core.measurements import Located, Mark, Measurement

Asked = Callable[[Measurement], bool]
"""What is asked of a measurement; the same question must be the same function each time, for it is kept."""

Observed = TypeVar("Observed", bound=Located)


class Log:
    """All measurements of a log, oldest first, and where in it those stand of which something is true."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        self.all = tuple(measurements)
        self._only: dict[Asked, tuple[list[int], Log]] = {}
        self._since = (Mark(), 0, 0)

    def until(self, end: int) -> "Lines":
        """Return what is known of it after so many lines."""
        return Lines(self, 0, end)

    def only(self, asked: Asked) -> "tuple[list[int], Log]":
        """Return the places of those of which it is true, and a log of them."""
        if asked not in self._only:
            places = [place for place, each in enumerate(self.all) if asked(each)]
            self._only[asked] = places, Log([self.all[place] for place in places])
        return self._only[asked]

    def since(self, mark: Mark, end: int) -> int:
        """Return the place from which on, up to `end`, all were logged after the mark; lines that came are looked at once."""
        known, seen, place = self._since
        if known == mark and seen <= end:
            for at in range(seen, end):
                place = place if mark.is_before(self.all[at]) else at + 1
        else:
            newest_first = (self.all[at] for at in range(end - 1, -1, -1))
            place = end - sum(1 for _ in takewhile(mark.is_before, newest_first))
        self._since = mark, end, place
        return place


@dataclass(frozen=True, slots=True, eq=False)
class Lines(Sequence[Measurement]):
    """The measurements of a log from the place `first` up to, and without, the place `end`."""

    log: Log
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first

    @overload
    def __getitem__(self, place: int) -> Measurement: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Measurement]: ...

    def __getitem__(self, place: int | slice) -> Measurement | Sequence[Measurement]:
        count = self.end - self.first
        if isinstance(place, slice):
            start, stop, step = place.indices(count)
            if step == 1:
                return self.log.all[self.first + start : self.first + stop]
            return [self.log.all[self.first + at] for at in range(start, stop, step)]
        if not -count <= place < count:
            raise IndexError(place)
        return self.log.all[(self.first if place >= 0 else self.end) + place]

    def __iter__(self) -> Iterator[Measurement]:
        return (self.log.all[place] for place in range(self.first, self.end))

    def goes_on(self, other: Sequence[Measurement]) -> bool:
        """Say whether these are the same lines as others, and perhaps more after them."""
        return isinstance(other, Lines) and (other.log, other.first) == (self.log, self.first) and other.end <= self.end


def only(measurements: Sequence[Measurement], asked: Asked) -> Sequence[Measurement]:
    """Return those of which something is true; of Lines, without looking at each again.

    >>> only([Measurement(value=0.9, where="f:1", file="f", end=9)], carries_drift)
    []
    """
    if not isinstance(measurements, Lines):
        return [each for each in measurements if asked(each)]
    places, log = measurements.log.only(asked)
    return Lines(log, bisect_left(places, measurements.first), bisect_left(places, measurements.end))


def since(observed: Sequence[Observed], mark: Mark) -> Sequence[Observed]:
    """Return the last ones of which each was logged after a mark, however long the log before them is."""
    if isinstance(observed, Lines):
        place = max(observed.first, observed.log.since(mark, observed.end))
        return cast("Sequence[Observed]", Lines(observed.log, place, observed.end))
    return observed[len(observed) - sum(1 for _ in takewhile(mark.is_before, reversed(observed))) :]


def carries_drift(measurement: Measurement) -> bool:
    """Say whether a line states any drift."""
    return bool(measurement.drift)


def has_time(measurement: Measurement) -> bool:
    """Say whether a line states when what it measures began."""
    return measurement.at is not None
