"""Filled stores: made once, kept where that is asked for, and copied for every run, since runs write."""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import msgspec

import threatcloud
from bench.fill import Filled, fill
from bench.sizes import Size

#: Evidence fades and lists follow: a store of yesterday is another one today.
_FRESH_S = 86_400
_SCHEMA = Path(threatcloud.__file__).parent / "storage" / "schema" / "sqlite"


class Note(msgspec.Struct, frozen=True):
    """What is known of a kept store; ``recipe`` stands for the code and the schema that made it."""

    recipe: str
    filled: Filled


def provide(target: Path, size: Size, keep: Path | None) -> Filled:
    """A filled database at ``target``: a copy of a kept one that is fresh, or a new one."""
    if keep is None:
        return fill(target, size)
    kept, note_path = keep / f"{size.name}.db", keep / f"{size.name}.json"
    note = _read(note_path)
    if note is None or note.recipe != recipe() or note.filled.filled_at < time.time() - _FRESH_S:
        for path in keep.glob(f"{size.name}.*"):
            path.unlink()
        note = Note(recipe(), fill(kept, size))
        note_path.write_bytes(msgspec.json.encode(note))
    else:
        print(f"{size.name}: as kept in {keep}", file=sys.stderr)
    shutil.copyfile(kept, target)
    os.sync()  # or the disk is busy with it while something is measured
    return note.filled


def _read(path: Path) -> Note | None:
    """The note; None where there is none, or one of another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def recipe() -> str:
    """A digest of what a filled store depends on."""
    own = [Path(__file__).with_name(f"{name}.py") for name in ("fill", "history", "values", "sizes")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in [*own, *sorted(_SCHEMA.glob("*.sql"))])).hexdigest()
