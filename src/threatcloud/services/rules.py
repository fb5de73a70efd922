"""Detection rules in and out: checked off the database, stored in one unit of work, audited in the same one."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from threatcloud.domain.access import Caller
from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.errors import NotFound, Problem, invalid_items
from threatcloud.domain.report import check_source
from threatcloud.domain.rule import Rule, check_rule_id
from threatcloud.formats.rule_yaml import check_rule_yaml
from threatcloud.services.intake import observation_time
from threatcloud.services.lookup import Page
from threatcloud.storage import ledger, rules
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.rules import StoredRule
from threatcloud.storage.store import Clock, Store

MAX_RULES: Final = 100


class RuleClaim(NamedTuple):
    """A rule as it came, not checked yet; ``authored_at`` is ISO 8601."""

    rule_id: str
    content: str
    source: str
    authored_at: str | None = None


class StoredRules(NamedTuple):
    """The answer to a batch: how many came, were new, changed a known one; and their ids in the order of the input."""

    received: int
    new: int
    updated: int
    ids: list[str]


class Rules:
    """Takes, hands out and deletes rules. Every change is in the audit ledger, with the digest of the content."""

    def __init__(self, store: Store, audit_secret: bytes, clock: Clock) -> None:
        self._store = store
        self._audit_secret = audit_secret
        self._clock = clock

    async def submit(self, claims: Sequence[RuleClaim | list[Problem]], caller: Caller) -> StoredRules:
        """Stores a batch, all of it or nothing; of several items of one id the last counts.

        A claim that could not even be read comes as its problems. A rule of the same content and source as the one
        that is stored changes nothing. Raises InvalidInput naming every bad item.
        """
        now = self._clock()
        # 1 MiB of YAML can take 0.6 s: in a thread, where others get their turn in between.
        good, problems = await asyncio.to_thread(_check_all, claims, now)
        if problems:
            raise invalid_items(problems, len(claims), "rules")
        new, updated = await self._store.write(lambda tx: self._save_all(tx, {rule.id: rule for rule in good}, caller))
        return StoredRules(len(good), new, updated, [rule.id for rule in good])

    def _save_all(self, tx: Transaction, given: dict[str, Rule], caller: Caller) -> tuple[int, int]:
        new = updated = 0
        for rule in given.values():
            known = rules.find(tx.db, rule.id)
            if known is not None and (known.rule.content, known.rule.source) == (rule.content, rule.source):
                continue
            rules.save(tx, rule)
            self._audit(tx, "create" if known is None else "update", rule, caller)
            new += known is None
            updated += known is not None
        return new, updated

    def _audit(self, tx: Transaction, action: str, rule: Rule, caller: Caller) -> None:
        digest = hashlib.sha256(rule.content.encode()).hexdigest()
        details = {"id": rule.id, "source": rule.source, "sha256": digest}
        ledger.append(tx, self._audit_secret, ledger.Act(action, "rule", caller.mask, caller.address, details))

    async def find(self, rule_id: str) -> StoredRule:
        """One rule; NotFound when there is none of this id."""
        found = await self._store.read(lambda db: rules.find(db, rule_id))
        if found is None:
            raise _unknown()
        return found

    async def delete(self, rule_id: str, caller: Caller) -> StoredRule:
        """Takes a rule away from everybody and gives it as it was; NotFound when there is none of this id."""

        def work(tx: Transaction) -> StoredRule:
            gone = rules.delete(tx, rule_id)
            if gone is None:
                raise _unknown()
            self._audit(tx, "delete", gone.rule, caller)
            return gone

        return await self._store.write(work)

    async def page(self, since: int, page: int, limit: int, cursor: str | None) -> Page:
        """Rules stored at or after a time, oldest first: one that changes while it is walked comes again at the end."""
        place = read_cursor(cursor, 2) if cursor else (0, 0)
        offset = 0 if cursor else (page - 1) * limit

        def read(db: Connection) -> Page:
            found = rules.page(db, since, (place[0], place[1]), offset, limit)
            more = make_cursor(found[-1].published_at, found[-1].pk) if len(found) == limit else None
            return Page(found, rules.count(db, since), more)

        return await self._store.scan(read)

    async def atr_since(self, since: int) -> list[StoredRule]:
        """Every ATR rule stored at or after a time, oldest first."""
        return await self._store.scan(lambda db: rules.atr_since(db, since))


def _unknown() -> NotFound:
    return NotFound("there is no rule of this id; see GET /api/rules")


def _check_all(claims: Sequence[RuleClaim | list[Problem]], now: int) -> tuple[list[Rule], list[Problem]]:
    """The good rules, and everything that is wrong with the others, each with the position of its item."""
    good: list[Rule] = []
    problems: list[Problem] = []
    for index, claim in enumerate(claims):
        made = claim if isinstance(claim, list) else _checked(claim, now)
        if isinstance(made, Rule):
            good.append(made)
        else:
            problems += [problem._replace(position=index) for problem in made]
    return good, problems


def _checked(claim: RuleClaim, now: int) -> Rule | list[Problem]:
    problems: list[Problem] = []
    for field, check, value in (
        ("ruleId", check_rule_id, claim.rule_id),
        ("ruleContent", check_rule_yaml, claim.content),
        ("source", check_source, claim.source),
    ):
        try:
            check(value)
        except ValueError as error:
            problems.append(Problem(field, str(error)))
    authored_at = None
    try:
        authored_at = None if claim.authored_at is None else observation_time(claim.authored_at, now)
    except ValueError as error:
        problems.append(Problem("publishedAt", str(error)))
    return problems or Rule(claim.rule_id, claim.content, claim.source, authored_at)
