"""``/api/rules`` and ``/api/atr-rules``: detection rules handed to agents."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from threatcloud.domain.errors import Problem, invalid
from threatcloud.domain.report import SOURCE_PATTERN
from threatcloud.domain.rule import ID_PATTERN
from threatcloud.domain.times import iso
from threatcloud.http import wire
from threatcloud.http.answer import Answer, collection, ok, time_or_none
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass, decoded, wants_of
from threatcloud.http.parameters import DATE_TIME, Cursor, Limit200, PageNumber, Since, read_since
from threatcloud.services.rules import MAX_RULES, RuleClaim
from threatcloud.storage.rules import StoredRule

_CONTENT_NOTE: Final = "a YAML mapping of at most 64 KiB and 32 levels, without anchors, aliases and tags"


class RuleItem(msgspec.Struct, rename="camel"):
    """A rule to be stored."""

    rule_id: Annotated[str, Meta(examples=["ATR-2026-00001"], extra_json_schema={"pattern": ID_PATTERN})]
    rule_content: Annotated[str, Meta(description=_CONTENT_NOTE, extra_json_schema={"minLength": 1})]
    source: Annotated[str, Meta(examples=["atr"], extra_json_schema={"pattern": SOURCE_PATTERN})]
    published_at: (
        Annotated[
            str, Meta(description="when its author published it; kept as authoredAt", extra_json_schema=DATE_TIME)
        ]
        | None
    ) = None


class RulesBody(msgspec.Struct, rename="camel"):
    """One rule, or 1 to 100 of them."""

    rules: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_RULES)] | UnsetType = UNSET
    rule_id: msgspec.Raw | UnsetType = UNSET


class RuleBatch(msgspec.Struct):
    """1 to 100 rules."""

    rules: Annotated[list[RuleItem], Meta(min_length=1, max_length=MAX_RULES)]


class RulesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which rules, and the place."""

    since: Since | None = None
    page: PageNumber = 1
    limit: Limit200 = 50
    cursor: Cursor | None = None


class AtrRulesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """From when on."""

    since: Since | None = None


class RuleShape(wire.Shape):
    """A rule; ``publishedAt`` is when this server stored it as it is, ``authoredAt`` what its sender said."""

    rule_id: str
    rule_content: str
    published_at: wire.Time
    authored_at: wire.Time | None
    source: str


class StoredRulesShape(wire.Shape):
    """What became of a batch: ids in the order of the input; what was the same already is neither new nor updated."""

    received: int
    new: int
    updated: int
    rule_ids: list[str]


_decode_item: Final = msgspec.json.Decoder(RuleItem).decode
_WANTS: Final = wants_of(RuleItem)


def _claim(raw: msgspec.Raw | bytes) -> RuleClaim | list[Problem]:
    return decoded(raw, _decode_item, _claim_of, _WANTS)


def _claim_of(item: RuleItem) -> RuleClaim:
    return RuleClaim(item.rule_id, item.rule_content, item.source, item.published_at)


def _shape(stored: StoredRule) -> RuleShape:
    rule = stored.rule
    return RuleShape(rule.id, rule.content, iso(stored.published_at), time_or_none(rule.authored_at), rule.source)


async def add_rules(call: Call) -> Answer:
    """Stores one rule or a batch."""
    body: RulesBody = call.body
    if body.rules is not UNSET and body.rule_id is not UNSET:
        raise invalid("rules", "is for several rules and ruleId for one; give one of them")
    given = [call.raw_body] if body.rules is UNSET else body.rules
    done = await call.services.rules.submit([_claim(raw) for raw in given], call.caller)
    return ok(StoredRulesShape(done.received, done.new, done.updated, done.ids), 201)


async def list_rules(call: Call) -> Answer:
    """One page of the rules, oldest first."""
    query: RulesQuery = call.query
    page = await call.services.rules.page(read_since(query.since) or 0, query.page, query.limit, query.cursor)
    return collection([_shape(item) for item in page.items], page.total, query.page, query.limit, page.next_cursor)


async def get_rule(call: Call) -> Answer:
    """One rule."""
    return ok(_shape(await call.services.rules.find(call.params["id"])))


async def delete_rule(call: Call) -> Answer:
    """Takes a rule away."""
    return ok(_shape(await call.services.rules.delete(call.params["id"], call.caller)))


async def list_atr_rules(call: Call) -> Answer:
    """All rules for agents from a time on."""
    query: AtrRulesQuery = call.query
    return ok([_shape(item) for item in await call.services.rules.atr_since(read_since(query.since) or 0)])


_ID: Final = {"id": "the ruleId"}

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/rules",
        summary="Detection rules, oldest first",
        description="A rule that changes moves to the end: who walks with `nextCursor`, or repeats the last "
        "`publishedAt` as `since`, misses none.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=list_rules,
        from_database=True,
        query=RulesQuery,
        answer=RuleShape,
        collection=True,
        tag="Rules",
    ),
    Endpoint(
        method="POST",
        path="/api/rules",
        summary="Store one detection rule or up to 100",
        description="The `ruleId` of a known rule updates it; the same content and source again changes nothing. One "
        "bad rule refuses the whole batch and every bad one is named in `details`. Rules whose `source` is `atr` or "
        "whose id begins with `ATR-` go to agents.",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=add_rules,
        body=RulesBody,
        documented_body=(RuleItem, RuleBatch),
        answer=StoredRulesShape,
        status=201,
        errors=("busy",),
        tag="Rules",
        example={
            "ruleId": "ATR-2026-00001",
            "ruleContent": "title: SSH brute force\ndetection:\n  event: auth_failed\n  threshold: 10\n",
            "source": "atr",
        },
    ),
    Endpoint(
        method="GET",
        path="/api/rules/{id}",
        summary="One detection rule",
        access=Access.READ,
        rate=RateClass.READ,
        handler=get_rule,
        from_database=True,
        answer=RuleShape,
        params=_ID,
        errors=("not_found",),
        tag="Rules",
    ),
    Endpoint(
        method="DELETE",
        path="/api/rules/{id}",
        summary="Delete a detection rule",
        description="Answers with the rule as it was. Agents are told with their next update.",
        access=Access.WRITE,
        rate=RateClass.WRITE,
        handler=delete_rule,
        answer=RuleShape,
        params=_ID,
        errors=("not_found", "busy"),
        tag="Rules",
    ),
    Endpoint(
        method="GET",
        path="/api/atr-rules",
        summary="Rules for agents, all of them or those stored since a time",
        description="Oldest first and never cut short. `since` is inclusive: repeat the last `publishedAt` you have.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=list_atr_rules,
        from_database=True,
        query=AtrRulesQuery,
        answer=list[RuleShape],
        tag="Rules",
    ),
)
