"""The one secret of all nodes on a shared database: a file that each of them has, or what the first of them made."""

import secrets
from pathlib import Path
from typing import Final

from threatcloud.services.secrets import SECRET_BYTES, Secret, SecretUnusable, read_secret
from threatcloud.storage import meta
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.store import Store

#: Where the database has the secret, and where the mark by which the right file is known.
SECRET: Final = "secret"  # noqa: S105 - a name
MARK: Final = "secret_mark"


async def agree_on_secret(store: Store, file: Path | None) -> Secret:
    """The secret of the file, or of the database, where the first node to come puts it.

    Raises SecretUnusable when it is not the one that the other nodes use.
    """

    def settle(tx: Transaction) -> None:
        if meta.find(tx.db, MARK) is not None:
            return
        if file is None:
            text = secrets.token_hex(SECRET_BYTES)
            meta.put(tx, SECRET, text)
            meta.put(tx, MARK, Secret(bytes.fromhex(text)).mark)
        else:
            meta.put(tx, MARK, read_secret(file).mark)

    if await store.read(lambda db: meta.find(db, MARK)) is None:
        await store.write(settle)
    return await store.read(lambda db: shared_secret(db, file))


def shared_secret(db: Connection, file: Path | None) -> Secret:
    """The secret that the nodes have agreed on. Raises SecretUnusable when this one does not have it."""
    kept = meta.find(db, SECRET)
    if file is not None:
        secret = read_secret(file)
    elif kept is not None:
        secret = Secret(bytes.fromhex(kept))
    else:
        raise SecretUnusable(
            "this database is used with a secret file: set TC_SECRET_FILE to a copy of the nodes' file"
        )
    if secret.mark != meta.find(db, MARK):
        raise SecretUnusable(
            f"the secret file {file} is not the secret that this database is used with: copy the file of a node that "
            "runs, or unset TC_SECRET_FILE where the others have none"
        )
    return secret
