"""What the two processes of an import tell each other: the job, and frames of what was read."""

import struct
from typing import BinaryIO, Final

import msgspec

from threatcloud.formats.readers.packing import MAX_UNPACKED_BYTES

HEAD: Final = struct.Struct(">II")


class ReadJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to read and what holds for its lines unless they say otherwise.

    ``reports``: make bodies of ``POST /api/threats``, for a server elsewhere; otherwise of ``POST
    /local/imports/rows``, screened with the files that ``screening`` names (settings as text, by field).
    """

    file: str
    source: str
    run: str
    reports: bool
    screening: dict[str, str] = {}
    format: str | None = None
    columns: dict[str, str] = {}
    type: str | None = None
    category: str | None = None
    severity: str | None = None
    confidence: float = 0.5
    max_bytes: int = MAX_UNPACKED_BYTES
    keeps_values: bool = False


class Rejected(msgspec.Struct, array_like=True, frozen=True):
    """A line that was not taken, and why."""

    line: int
    field: str
    reason: str
    text: str


class Frame(msgspec.Struct):
    """What goes before a body: how many values it holds, what was found on the way, and how far the reading is.

    ``lines`` and ``bytes_read`` count from the beginning of the file, the others since the frame before. The last
    frame is ``done``, or has an ``error``: why the reading ended early.
    """

    format: str = ""
    values: int = 0
    lines: int = 0
    bytes_read: int = 0
    bytes_total: int | None = None
    whitelisted: dict[str, int] = {}
    clouds: dict[str, int] = {}
    passed: dict[str, int] = {}
    left_out: list[tuple[str, str]] = []
    rejects: list[Rejected] = []
    done: bool = False
    error: str | None = None

    def note(self, withheld_list: str | None, cloud: str | None) -> None:
        """Counts what a value may not, or not alone, be published for."""
        for counts, name in ((self.whitelisted, withheld_list), (self.clouds, None if withheld_list else cloud)):
            if name is not None:
                counts[name] = counts.get(name, 0) + 1


def write_frame(out: BinaryIO, frame: Frame, body: bytes) -> None:
    """A frame and its body as they go over the pipe: two lengths, then both."""
    head = msgspec.json.encode(frame)
    out.write(HEAD.pack(len(head), len(body)))
    out.write(head)
    out.write(body)
    out.flush()
