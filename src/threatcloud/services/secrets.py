"""The server's secret: keyed digests of keys and of the audit chain hang on it. It never leaves its file."""

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from threatcloud.domain.errors import DomainError

SECRET_BYTES: Final = 32


class SecretUnusable(DomainError):
    """The secret file cannot be read, made or trusted."""

    code = "secret_unusable"


class Secret:
    """One secret from which a separate key is derived for each purpose."""

    def __init__(self, root: bytes) -> None:
        self._keys = hmac.digest(root, b"threat-cloud api keys", "sha256")
        self.audit = hmac.digest(root, b"threat-cloud audit ledger", "sha256")
        self.limits = hmac.digest(root, b"threat-cloud shared limits", "sha256")
        self._webhooks = hmac.digest(root, b"threat-cloud webhooks", "sha256")
        #: Tells the same secret again, and nothing else of it.
        self.mark = hmac.digest(root, b"threat-cloud mark", "sha256").hex()[:32]
        self._credentials = hmac.digest(root, b"threat-cloud trapped credentials", "sha256")

    def digest_key(self, key: str) -> bytes:
        """What is stored and looked up in place of an API key: keyed BLAKE2b (RFC 7693), cheaper than HMAC."""
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=self._keys, digest_size=32).digest()

    def webhook_key(self, webhook_id: str) -> bytes:
        """What the deliveries of a webhook are signed with; it is stored nowhere."""
        return hmac.digest(self._webhooks, webhook_id.encode(), "sha256")

    def digest_credential(self, username: str, password: str) -> bytes:
        """16 bytes that tell the same pair again and nothing else of it."""
        pair = f"{username}\0{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(pair, key=self._credentials, digest_size=16).digest()


def load_secret(path: Path) -> Secret:
    """The secret of a file, made (mode 0600) when there is none yet; SecretUnusable says what is wrong with it."""
    if not path.exists():
        try:
            _make(path)
        except OSError as error:
            raise SecretUnusable(f"cannot make the secret file {path}: {error.strerror}") from error
    return read_secret(path)


def _make(path: Path) -> None:
    """Makes the file whole or not at all, and durably: keys that were handed out hang on it. The first to come wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(made, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def read_secret(path: Path) -> Secret:
    """The secret of a file that exists; SecretUnusable says what is wrong with it."""
    try:
        if path.stat().st_mode & 0o077:
            raise SecretUnusable(f"the secret file {path} can be read by others: chmod 600 {path}")
        root = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise SecretUnusable(f"cannot read the secret file {path}: {error.strerror}") from error
    except ValueError as error:
        raise SecretUnusable(f"the secret file {path} does not hold hexadecimal digits") from error
    if len(root) < SECRET_BYTES:
        raise SecretUnusable(f"the secret file {path} must hold {2 * SECRET_BYTES} hexadecimal digits")
    return Secret(root)
