"""What is to be read of files: each where it lies, or what has come since it was read, copied in whole lines."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from retrain_trigger.engines import parts
from retrain_trigger.engines.parts import Span
from retrain_trigger.engines.sources import FileState
from retrain_trigger.engines.spelled import Readable
from retrain_trigger.store import files

AT_ONCE = 128 << 20
"""Bytes of text that one query counts: what it needs of them is held in memory."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Lines of a file that one query reads, the bytes of the file that they are, and a key to keep them under.

    `left_out` are the lines of half a row at its end: they are not read, but counted.
    """

    lines: Readable
    file: FileState
    span: Span
    key: str = ""
    left_out: int = 0

    @property
    def is_copied(self) -> bool:
        """Say whether the lines were written to a file of their own."""
        return self.lines.path != self.lines.file

    @property
    def text(self) -> int:
        """Bytes of text."""
        return 0 if self.lines.kind == "parquet" else self.span.end - self.span.start


def portions(file: FileState, start: int, folder: Path) -> Iterator[Portion]:
    """Yield what is to be read of a file from an offset on; what may be growing is copied to a folder first."""
    if file.size <= start:
        return
    if not parts.grows(file) or (start == 0 and parts.is_quiet(file)):
        yield Portion(Readable(file.path, file.path), file, Span(0, file.size))
        return
    end = start
    for span, data in parts.spans(file, start, file.size):
        yield Portion(Readable(file.path, str(parts.copied(file, span, data, folder))), file, span)
        end = span.end
    if left_out := parts.left_out(file, end):
        yield Portion(Readable(file.path, file.path), file, Span(end, file.size, closed=False), left_out=left_out)


def batches(every: Iterable[Portion]) -> Iterator[list[Portion]]:
    """Yield portions in batches of about AT_ONCE bytes; the copies of a batch are removed before the next is made."""
    batch, size = list[Portion](), 0
    for portion in every:
        batch.append(portion)
        size += portion.text
        if size >= AT_ONCE:
            yield batch
            for done in batch:
                if done.is_copied:
                    files.remove(Path(done.lines.path))
            batch, size = [], 0
    if batch:
        yield batch
