"""``/api/keys``: the making, listing, revoking and rotating of API keys."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from threatcloud.domain.access import DEFAULT_SCOPES, KeyInfo, Scope, parse_role
from threatcloud.domain.errors import invalid
from threatcloud.domain.report import KEY_ROLES
from threatcloud.domain.times import iso
from threatcloud.http import wire
from threatcloud.http.answer import Answer, ok, time_or_none
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.http.parameters import DATE_TIME, read_since
from threatcloud.services.access import DEFAULT_OVERLAP_HOURS, NewKey


class KeyBody(msgspec.Struct, rename="camel"):
    """A key to be made."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    scopes: Annotated[list[Scope], Meta(min_length=1, description="default read, write, audit")] | None = None
    role: Annotated[str, Meta(extra_json_schema={"enum": list(KEY_ROLES)})] = "operator"
    expires_at: Annotated[str, Meta(description="in the future; default never", extra_json_schema=DATE_TIME)] | None = (
        None
    )
    org: (
        Annotated[
            str, Meta(min_length=1, max_length=64, description="the organisation it is given to; campaigns count")
        ]
        | None
    ) = None


class RotateBody(msgspec.Struct, rename="camel"):
    """How long the old key works on."""

    overlap_hours: Annotated[float, Meta(ge=0, le=8760)] = DEFAULT_OVERLAP_HOURS


class KeyShape(wire.Shape):
    """A key without the key; ``status`` is active, expired or revoked."""

    id: str
    name: str
    mask: str
    scopes: list[str]
    role: str
    created_at: wire.Time | None
    expires_at: wire.Time | None
    revoked_at: wire.Time | None
    status: str
    org: str | None


class NewKeyShape(wire.Shape):
    """A key just made; ``key`` is shown this once."""

    key: str
    info: KeyShape


def _shape(info: KeyInfo, now: int) -> KeyShape:
    status = "active" if info.is_valid_at(now) else "revoked" if info.revoked_at else "expired"
    return KeyShape(
        info.id,
        info.name,
        info.mask,
        sorted(info.scopes),
        info.role.value,
        iso(info.created_at) if info.created_at else None,
        time_or_none(info.expires_at),
        time_or_none(info.revoked_at),
        status,
        info.org,
    )


def _new(new: NewKey, now: int) -> NewKeyShape:
    return NewKeyShape(new.key, _shape(new.info, now))


async def create_key(call: Call) -> Answer:
    """Makes a key."""
    body: KeyBody = call.body
    try:
        role = parse_role(body.role)
    except ValueError as error:
        raise invalid("role", str(error)) from None
    now = call.services.clock()
    expires_at = read_since(body.expires_at, "expiresAt")
    if expires_at is not None and expires_at <= now:
        raise invalid("expiresAt", "must lie in the future")
    scopes = frozenset(body.scopes) if body.scopes else DEFAULT_SCOPES
    if body.org is not None and not body.org.isprintable():
        raise invalid("org", "must be one line of printable characters")
    new = await call.services.keys.create(body.name, scopes, role, expires_at, call.caller, body.org)
    return ok(_new(new, now), 201)


async def list_keys(call: Call) -> Answer:
    """All keys, without the keys."""
    now = call.services.clock()
    return ok([_shape(info, now) for info in await call.services.keys.list()])


async def revoke_key(call: Call) -> Answer:
    """Ends a key at once."""
    info = await call.services.keys.revoke(call.params["id"], call.caller)
    now = call.services.clock()
    return ok(_shape(info._replace(revoked_at=now), now))


async def rotate_key(call: Call) -> Answer:
    """A new key in place of an old one."""
    new = await call.services.keys.rotate(call.params["id"], call.body.overlap_hours, call.caller)
    return ok(_new(new, call.services.clock()), 201)


class WithdrawnShape(wire.Shape):
    """How far a withdrawal is: sightings taken back, indicators that nobody else had reported and are removed, and
    others, concluded anew. ``pending``: it goes on, and is complete when the same call says so."""

    pending: bool
    sightings: int
    removed_iocs: int
    changed_iocs: int


async def withdraw_contributions(call: Call) -> Answer:
    """Takes back all that was reported with a key."""
    done = await call.services.withdrawing.withdraw(call.params["id"], call.caller)
    return ok(WithdrawnShape(*done), 202 if done.pending else 200)


_ID: Final = {"id": "the key's id, such as key_0123456789abcdef"}

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/keys",
        summary="API keys, without the keys",
        access=Access.ADMIN,
        rate=RateClass.READ,
        handler=list_keys,
        answer=list[KeyShape],
        tag="Keys",
    ),
    Endpoint(
        method="POST",
        path="/api/keys",
        summary="Make an API key",
        description="The key itself is in this answer and nowhere else: only its keyed digest is stored.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=create_key,
        body=KeyBody,
        answer=NewKeyShape,
        status=201,
        tag="Keys",
        example={"name": "edge-firewall", "scopes": ["feeds"], "role": "agent"},
    ),
    Endpoint(
        method="DELETE",
        path="/api/keys/{id}",
        summary="Revoke an API key at once",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=revoke_key,
        answer=KeyShape,
        params=_ID,
        errors=("not_found", "conflict"),
        tag="Keys",
    ),
    Endpoint(
        method="DELETE",
        path="/api/keys/{id}/contributions",
        summary="Withdraw all that was reported with a key",
        description="Also with keys it replaced or that replaced it. What nobody else reported is removed, the rest is "
        "concluded anew, and every feed follows. 200: all of it is gone; 202: it takes longer and goes on, also over a "
        "restart; call again to see. What the key reports afterwards counts: revoke it first if it is not to.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=withdraw_contributions,
        answer=WithdrawnShape,
        also={202: WithdrawnShape},
        params=_ID,
        errors=("not_found",),
        tag="Keys",
    ),
    Endpoint(
        method="POST",
        path="/api/keys/{id}/rotate",
        summary="Replace an API key",
        description="The new key has the rights and the history of the old one, which works on for the overlap.",
        access=Access.ADMIN,
        rate=RateClass.WRITE,
        handler=rotate_key,
        body=RotateBody,
        answer=NewKeyShape,
        status=201,
        params=_ID,
        errors=("not_found", "conflict"),
        tag="Keys",
        example={"overlapHours": 24},
    ),
)
