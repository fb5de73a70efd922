"""Filled stores: made once, kept where that is asked for, and copied for every run, since runs write."""

import shutil
import sys
import time
from pathlib import Path

import msgspec

from bench.fill import Filled, fill
from bench.sizes import Size

#: Evidence fades and lists follow: a store of yesterday is another one today.
_FRESH_S = 86_400


def provide(target: Path, size: Size, keep: Path | None) -> Filled:
    """A filled database at ``target``: a copy of a kept one that is fresh, or a new one."""
    if keep is None:
        return fill(target, size)
    kept, note = keep / f"{size.name}.db", keep / f"{size.name}.json"
    if not (note.exists() and msgspec.json.decode(note.read_bytes(), type=Filled).filled_at > time.time() - _FRESH_S):
        note.unlink(missing_ok=True)
        for path in keep.glob(f"{kept.name}*"):
            path.unlink()
        note.write_bytes(msgspec.json.encode(fill(kept, size)))
    else:
        print(f"{size.name}: as kept in {keep}", file=sys.stderr)
    shutil.copyfile(kept, target)
    return msgspec.json.decode(note.read_bytes(), type=Filled)
