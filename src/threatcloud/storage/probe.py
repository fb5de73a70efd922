"""Whether the database answers and takes a commit, at the least price that is no pretence."""

from threatcloud.storage import meta
from threatcloud.storage.driver import Connection, Transaction

_NAME = "probe"


def read(db: Connection) -> None:
    """Reads one row; raises StorageUnavailable where the database does not answer."""
    db.row("SELECT 1 FROM meta LIMIT 1")


def write(tx: Transaction) -> None:
    """Leaves the time in a row of its own: a commit that changes nothing would not see that the disk is full."""
    meta.put(tx, _NAME, str(tx.now))
