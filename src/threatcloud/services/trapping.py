"""What a honeypot saw: one visit becomes a report of the attacker and of everything the visitor brought or named."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from threatcloud.domain.access import Caller
from threatcloud.domain.commands import observables, sequence_digest
from threatcloud.domain.errors import InvalidInput, Problem, invalid_all
from threatcloud.domain.indicator import Indicator, IndicatorType, public_id
from threatcloud.domain.report import Role
from threatcloud.domain.times import iso
from threatcloud.services.intake import Claim, Intake, observation_time
from threatcloud.services.recording import Prepared, record_reports
from threatcloud.services.screening import Screener
from threatcloud.services.secrets import Secret
from threatcloud.storage import indicators, ledger, log_entries
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Store

SOURCE: Final = "honeypot"
#: Usernames and digests kept of one visit: a wordlist runs to thousands, and its beginning tells which it is.
MAX_KEPT_CREDENTIALS: Final = 100
MAX_NAMED: Final = 200
USERNAME_CHARS: Final = 64
_EXECUTING: Final = ("command", "cmd", "exec", "shell", "input")
_FETCHING: Final = ("download", "fetch")
_LOGGING_IN: Final = ("login", "auth", "credential", "password")
_COMMAND_FIELDS: Final = ("command", "cmd", "input", "data", "url")
PORTS: Final = {"ssh": 22, "http": 80, "ftp": 21, "smtp": 25, "telnet": 23}


class Interaction(NamedTuple):
    """One thing a visitor did; ``data`` is a text or an object."""

    timestamp: str
    action: str
    data: Any


class Visit(NamedTuple):
    """A visit as a honeypot tells it, nothing checked but its types.

    ``session_id`` names it among the visits to its trap: what the same reporter tells again under it is known.
    """

    trap_id: str
    attacker: str
    honeypot_type: str
    interactions: Sequence[Interaction]
    credentials: Sequence[tuple[str, str]] = ()
    payloads: Sequence[str] = ()
    session_id: str | None = None
    source: str = SOURCE

    @property
    def digest(self) -> bytes | None:
        """What tells it again; None without a session id."""
        if self.session_id is None:
            return None
        return hashlib.sha256(f"{self.trap_id}\0{self.session_id}".encode()).digest()[: log_entries.DIGEST_BYTES]


class Trapped(NamedTuple):
    """What became of a visit: the attacker's id, how far its reputation moved (negative is worse), and its campaign."""

    ioc_id: str
    reputation_delta: int
    campaign: str | None


class RefusedVisit(NamedTuple):
    """A visit of a log that cannot be stored: who came, and the first thing that is wrong with it."""

    attacker: str
    field: str
    reason: str


class VisitCounts(NamedTuple):
    """What became of the visits of a log: stored, known before, the indicators among them by novelty, the refused."""

    stored: int
    known: int
    new: int
    updated: int
    rejected: list[RefusedVisit]


class _Told(NamedTuple):
    """A visit with the reports it makes; the first is the attacker's."""

    visit: Visit
    reports: list[Prepared]


class Trapping:
    """Takes the visits of honeypots."""

    def __init__(
        self,
        store: Store,
        names: Names,
        screener: Screener,
        secret: Secret,
        campaign_of: Callable[[Connection, int], str | None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._names = names
        self._intake = Intake(screener)
        self._secret = secret
        self._campaign_of = campaign_of
        self._clock = clock

    async def report(self, visit: Visit, caller: Caller) -> Trapped:
        """Stores a visit, all of it or nothing; one that is known already stores nothing and moves nothing.

        InvalidInput names what is wrong with it.
        """
        told = self._told(visit)
        return await self._store.write(lambda tx: self._store_visit(tx, told, caller))

    async def report_log(self, visits: Sequence[Visit], source: str, caller: Caller) -> VisitCounts:
        """Stores the visits of a log that the operator has, in the name of the trap ``source``, the bad ones left out.

        The others are stored whole or not at all.
        """
        told: list[_Told] = []
        rejected: list[RefusedVisit] = []
        for visit in visits:
            try:
                told.append(self._told(visit))
            except InvalidInput as error:
                problem = error.problems[0]
                rejected.append(RefusedVisit(visit.attacker, problem.field, problem.reason))
        counts = VisitCounts(0, 0, 0, 0, rejected)
        if not told:
            return counts
        return await self._store.write(lambda tx: self._store_log(tx, told, source, counts, caller), bulk=True)

    def _told(self, visit: Visit) -> _Told:
        now = self._clock()
        observed_at = _last_time(visit.interactions, now)
        named = _named(visit.interactions)
        attacker = self._prepared(self._attacker(visit, observed_at, bool(named)), now, "attackerIp")
        return _Told(visit, [attacker, *self._related(visit, named, observed_at, now, attacker)])

    def _prepared(self, claim: Claim, now: int, field: str) -> Prepared:
        made = self._intake.prepare(claim, now)
        if isinstance(made, list):
            problems = [problem._replace(field=field) if problem.field == "value" else problem for problem in made]
            raise invalid_all(problems)
        return made

    def _attacker(self, visit: Visit, observed_at: str, names_others: bool) -> Claim:
        executes = any(_is(item, _EXECUTING) for item in visit.interactions)
        logs_in = bool(visit.credentials) or any(_is(item, _LOGGING_IN) for item in visit.interactions)
        brings = names_others or bool(visit.payloads)
        techniques = [("T1110", logs_in), ("T1059", executes), ("T1105", brings)]
        metadata: dict[str, Any] = {
            "trapId": visit.trap_id,
            "honeypotType": visit.honeypot_type,
            "protocols": [visit.honeypot_type] if visit.honeypot_type in PORTS else [],
            "ports": [PORTS[visit.honeypot_type]] if visit.honeypot_type in PORTS else [],
            "mitreIds": [technique for technique, is_seen in techniques if is_seen],
            "attempts": max(1, len(visit.credentials)),
            "tags": ["honeypot"],
        }
        sequence = sequence_digest([_command(item.data) for item in visit.interactions if _is_executed(item)])
        if sequence is not None:
            metadata["commandDigest"] = sequence
        if visit.credentials:
            metadata["usernames"] = _first(user[:USERNAME_CHARS] for user, _ in visit.credentials)
            metadata["credentialDigests"] = _first(
                self._secret.digest_credential(user, password).hex() for user, password in visit.credentials
            )
        return Claim(
            "ip",
            visit.attacker,
            visit.source,
            "malware" if brings else "bruteforce" if logs_in else "scanner",
            "high" if brings or executes or logs_in else "medium",
            0.95,
            metadata,
            observed_at,
        )

    def _related(
        self, visit: Visit, named: Sequence[Indicator], observed_at: str, now: int, attacker: Prepared
    ) -> Iterator[Prepared]:
        """The payloads and what the commands named, each related to the attacker."""
        for index, payload in enumerate(visit.payloads):
            claim = Claim("hash", payload, visit.source, "malware", "high", 0.9, {"tags": ["honeypot"]}, observed_at)
            found = self._prepared(claim, now, f"payloads[{index}]")
            if len(found.report.indicator.value) != 64:
                reason = "must be a SHA-256 of 64 hexadecimal digits"
                raise InvalidInput(f"payloads[{index}] {reason}", [Problem(f"payloads[{index}]", reason)])
            yield found._replace(related=(attacker.report.key,))
        for kind, value in named:
            # What is fetched does harm; the host it lies on may be somebody else's.
            severity, confidence = ("high", 0.9) if kind is IndicatorType.URL else ("medium", 0.6)
            claim = Claim(
                kind, value, visit.source, "malware", severity, confidence, {"tags": ["honeypot"]}, observed_at
            )
            found = self._prepared(claim, now, "interactions")
            if found.report.key != attacker.report.key:
                yield found._replace(related=(attacker.report.key,))

    def _store_visit(self, tx: Transaction, told: _Told, caller: Caller) -> Trapped:
        visit, prepared = told
        reporter = self._names.ensure_reporter(tx, caller.reporter, caller.role)
        key = prepared[0].report.key
        if not _is_new(tx, reporter.pk, visit):
            known = indicators.find(tx.db, key, self._names)
            return Trapped(public_id(key), 0, self._campaign_of(tx.db, known.pk) if known else None)
        recorded = record_reports(tx, self._names, [(reporter, item) for item in prepared])[key]
        details = {"trapId": visit.trap_id, "indicators": len(prepared), "interactions": len(visit.interactions)}
        act = ledger.Act("create", "trap-intel", caller.mask, caller.address, details)
        ledger.append(tx, self._secret.audit, act)
        delta = recorded.state.reputation - recorded.reputation_before
        return Trapped(public_id(key), delta, self._campaign_of(tx.db, recorded.state.pk))

    def _store_log(
        self, tx: Transaction, told: Sequence[_Told], source: str, counts: VisitCounts, caller: Caller
    ) -> VisitCounts:
        reporter = self._names.ensure_reporter(tx, f"trap:{source}", Role.HONEYPOT)
        fresh = [item for item in told if _is_new(tx, reporter.pk, item.visit)]
        known = len(told) - len(fresh)
        if not fresh:
            return counts._replace(known=known)
        recorded = record_reports(tx, self._names, [(reporter, report) for item in fresh for report in item.reports])
        new = sum(item.is_new for item in recorded.values())
        details = {"trapId": source, "visits": len(fresh), "indicators": len(recorded)}
        ledger.append(tx, self._secret.audit, ledger.Act("create", "trap-intel", caller.mask, caller.address, details))
        return counts._replace(stored=len(fresh), known=known, new=new, updated=len(recorded) - new)


def _is_new(tx: Transaction, reporter: int, visit: Visit) -> bool:
    digest = visit.digest
    return digest is None or log_entries.take(tx, [(reporter, digest)])[0]


def _last_time(interactions: Sequence[Interaction], now: int) -> str:
    """The latest of the times; InvalidInput names each that is none."""
    times: list[int] = []
    problems: list[Problem] = []
    for index, item in enumerate(interactions):
        try:
            times.append(observation_time(item.timestamp, now))
        except ValueError as error:
            problems.append(Problem(f"interactions[{index}].timestamp", str(error)))
    if problems:
        raise invalid_all(problems)
    return iso(max(times))


def _is(item: Interaction, words: Sequence[str]) -> bool:
    action = item.action.lower()
    return any(word in action for word in words)


def _is_executed(item: Interaction) -> bool:
    return _is(item, _EXECUTING) and not _is(item, _LOGGING_IN)


def _named(interactions: Iterable[Interaction]) -> list[Indicator]:
    """What executed commands and downloads name, each once, in order."""
    found: dict[Indicator, None] = {}
    for item in interactions:
        if _is(item, _EXECUTING + _FETCHING) and not _is(item, _LOGGING_IN):
            found |= dict.fromkeys(observables(_command(item.data)))
        if len(found) >= MAX_NAMED:
            break
    return list(found)[:MAX_NAMED]


def _command(data: Any) -> str:
    if isinstance(data, str):
        return data
    if isinstance(data, Mapping):
        return next((data[name] for name in _COMMAND_FIELDS if isinstance(data.get(name), str)), "")
    return ""


def _first(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))[:MAX_KEPT_CREDENTIALS]
