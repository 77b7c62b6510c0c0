"""What is kept of a count of a log, so that what cannot change is not read again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from retrain_trigger.counts.tally import Tally, Where
from retrain_trigger.counts.windows import Spoilt
from retrain_trigger.engines.sources import FileState


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row that cannot be used: its place in its file from 0, its line where that is text, and what a column says."""

    place: int
    line: int | None
    column: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What a file was counted as, up to the byte `end`.

    `key` names it among all pieces that there ever were, `mark` is the fingerprint of what was counted, empty if the
    file cannot grow; `closed` is False for a last line that has no end yet. Of the rows, `first` and `last` are the
    least and the greatest time (microseconds since 1970), and `models` the names they carry; `bad` of the `lines` are no
    rows. `repeated` counts rows whose id had been counted, and `late` those with a label that comes later. `labelled`
    says whether there is a column of labels. `timeless` counts rows without a readable time by the window that they are
    taken to be in, None if no row of the file has one. `delays` counts labels by the hours that they took. `some_id`
    is an id of a row, `nested` are watched columns and what they are nested in, and `absent` those
    that no row has, which are not watched. `before`
    says that all rows are from before the champion, and were not counted.
    """

    key: str
    file: FileState
    start: int = 0
    end: int
    mark: str = ""
    closed: bool = True
    tally: Tally = field(default_factory=Tally)
    first: int | None = None
    last: int | None = None
    models: tuple[str, ...] = ()
    lines: int = 0
    bad: int = 0
    repeated: int = 0
    late: int = 0
    labelled: bool = False
    timeless: Mapping[Where, int] = field(default_factory=dict)
    examples: Mapping[Spoilt, Example] = field(default_factory=dict)
    delays: tuple[tuple[float, int], ...] = ()
    some_id: str | None = None
    nested: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    before: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """How far a file of labels was read; `key` names what was read of it among all labels kept, `tail` a last line without an end.

    `bad` lines of what was read are no labels, and `left_out` are those of half a label at the end.
    """

    key: str
    file: FileState
    end: int
    mark: str = ""
    tail: str = ""
    bad: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A file of rows, or of labels, that are kept beside the ledger: its name and its size."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A count of a log under a plan.

    `copies` maps files that are others once more, and were left out, to these. `rows` and `labels` are kept for those
    still to come, `truth` says how far the files of labels were read. `matched` holds, by the key of a piece, what its
    rows came to with the labels from other files: they are in no other tally. `settled` is the same of windows before the
    number `settled_until`, whose rows are not looked at again; `after` labels came for these. `source` names how labels
    were read. Of these labels, `late` come after now,
    and `delays` counts the others by the hours that they took. `strangers` are an id of the labels and one of the rows,
    if no id of the labels is one of the rows.
    """

    plan: str = ""
    pieces: tuple[Piece, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[Kept, ...] = ()
    labels: tuple[Kept, ...] = ()
    truth: tuple[Truth, ...] = ()
    source: str = ""
    matched: Mapping[str, Tally] = field(default_factory=dict)
    settled: Mapping[str, Tally] = field(default_factory=dict)
    settled_until: int | None = None
    after: int = 0
    late: int = 0
    delays: tuple[tuple[float, int], ...] = ()
    strangers: tuple[str, str] | None = None
