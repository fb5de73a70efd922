"""One request on its way through the layer."""

from typing import Final

from starlette.types import Scope

from threatcloud.http.dialect import Dialect
from threatcloud.http.protocol import ServerLimits
from threatcloud.http.rate_limit import Allowance

_DISCARDED_BYTES: Final = ServerLimits().discard_bytes
_NO_ALLOWANCE: Final = Allowance(0, 0, 0, 0)


class Exchange:
    """One request on its way through."""

    __slots__ = (
        "address",
        "allowance",
        "dialect",
        "has_read_body",
        "headers",
        "method",
        "request_id",
        "route_name",
        "scope",
        "taken",
    )

    def __init__(self, scope: Scope, headers: dict[bytes, bytes], request_id: str) -> None:
        self.scope = scope
        self.headers = headers
        self.request_id = request_id
        self.method: str = scope["method"]
        self.address = ""
        self.route_name = "(none)"
        self.allowance = _NO_ALLOWANCE
        self.has_read_body = False
        #: The bucket it was taken out of, where nodes share them: class, key and limit.
        self.taken: tuple[str, str, int] | None = None
        #: That of the endpoint, once it is found.
        self.dialect: Dialect | None = None

    def credential(self) -> bytes | None:
        """What the client says to be known by, as the Authorization header has it; None when it says nothing."""
        sent = self.headers.get(b"authorization")
        if sent is None and self.dialect is not None:
            return self.dialect.credential(self.headers, self.scope["query_string"])
        return sent

    def leaves_much_unread(self) -> bool:
        """Whether more of the body may be on its way than the protocol discards to keep the connection."""
        if self.has_read_body:
            return False
        length = self.headers.get(b"content-length", b"0")
        return b"transfer-encoding" in self.headers or int(length) > _DISCARDED_BYTES
