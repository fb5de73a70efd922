"""A default list between two publications: edited for the few that came and left, or read as a whole.

To read a million entries takes a third of a second of a core, or a whole one where they are not in its cache, and while
reports come that would be every second; to edit them takes some hundredths.
"""

import time
from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.list_text import Head, ListText
from threatcloud.storage import default_list, feeds
from threatcloud.storage.default_list import Rendered
from threatcloud.storage.driver import Connection
from threatcloud.storage.store import Store

MAX_CHANGES: Final = 50_000
#: Each is looked for in the whole text: 7 ms in a million, in which the interpreter does nothing else.
MAX_REMOVED: Final = 20
#: What moves within a list is only seen where it is read as a whole.
WHOLE_EVERY_S: Final = 60


class KeptList:
    """The default list of a type, as it was last read."""

    def __init__(self, store: Store, kind: IndicatorType) -> None:
        self._store = store
        self._kind = kind
        self._known: Rendered | None = None
        self._whole_at_s = 0.0

    async def read(self, at: int, *, whole: bool = False) -> ListText:
        """The list as it stands now, written at a time, or before where it is the same. ``whole``: nothing is taken
        over from before."""
        head = Head(self._kind, at)
        is_due = time.monotonic() > self._whole_at_s + WHOLE_EVERY_S
        known = None if whole or is_due else self._known

        def read(db: Connection) -> tuple[Rendered, bool]:
            edited = _edited(db, known, head) if known else None
            return (edited, False) if edited else (default_list.render(db, head), True)

        found, is_whole = await self._store.scan(read)
        if is_whole:
            self._whole_at_s = time.monotonic()
        self._known = found
        return found.text

    def forget(self) -> None:
        """Lets go of what was read."""
        self._known = None


def _edited(db: Connection, known: Rendered, head: Head) -> Rendered | None:
    changes = default_list.changes_since(db, head.kind, known.seq, MAX_CHANGES)
    if changes is None or len(changes.removed) > MAX_REMOVED:
        return None
    text = known.text.edited(*changes, head) if any(changes) else known.text
    return Rendered(text, feeds.last_change(db)) if text else None
