"""Makes ``released/NNNN.db.zst``: a database as a released schema left it, with a few rows in every table.

Run once for each schema that is released, and never again for the same one:  python -m tests.storage.make_released
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

import zstandard

from threatcloud.bootstrap import open_node
from threatcloud.config import load_settings
from threatcloud.domain.access import Scope
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.report import Role, SightingKind
from threatcloud.http.context import Services
from threatcloud.jobs import Job, JobRunner
from threatcloud.services.access import LOCAL_OPERATOR, caller_without_key
from threatcloud.services.allowing import AllowClaim
from threatcloud.services.correlating import Correlator
from threatcloud.services.imports import ImportChunk, Preparer
from threatcloud.services.intake import Claim
from threatcloud.services.pacing import Pace
from threatcloud.services.reporting import Retry
from threatcloud.services.rules import RuleClaim
from threatcloud.services.trapping import Interaction, Visit
from threatcloud.storage import campaigns
from threatcloud.storage.driver import Transaction
from threatcloud.storage.migrate import migrations

FOLDER: Final = Path(__file__).parent / "released"
SECRET: Final = "0123456789abcdef" * 4
CLAIMS: Final = (
    Claim("ip", "91.240.118.7", "guard-agent", "bruteforce", "high", 0.9, {"port": 22, "mitreId": "T1110"}),
    Claim("ip", "91.240.0.0/20", "manual", "botnet", "critical", 1.0, {"tags": ["net"], "relatedTo": "91.240.118.7"}),
    Claim("ip", "2a0c:9a40::1", "honeypot", "scanner", "low", 0.4),
    Claim("domain", "bad-login.xyz", "manual", "phishing", "high", 0.8, {"malwareFamily": "x"}, tlp="amber"),
    Claim("url", "http://bad-login.xyz/in?a=1", "manual", "phishing", "high", 0.8),
    Claim("hash", "44d88612fea8a8f36de82e1278abb02f", "manual", "malware", "critical", 1.0),
    Claim("email", "boss@bad-login.xyz", "manual", "phishing", "medium", 0.5),
    Claim("cve", "CVE-2021-44228", "manual", "exploit", "critical", 1.0, expires_at="2199-01-01T00:00:00Z"),
)


def make_released() -> Path:
    """Writes the file of the newest schema and gives its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "released.db"
        secret = path.with_name("released.db.secret")
        secret.write_text(SECRET + "\n")
        secret.chmod(0o600)
        asyncio.run(_fill(path))
        body = zstandard.ZstdCompressor(level=19).compress(path.read_bytes())
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / f"{migrations()[-1].number:04d}.db.zst"
    target.write_bytes(body)
    return target


async def _fill(path: Path) -> None:
    node = await open_node(load_settings({}, {"TC_DB_PATH": str(path)}, path.parent))
    services = node.services
    await _report(services)
    await _import(services)
    await services.publisher.start()
    await services.publisher.save()
    await _rules(services)
    await services.keys.create("first", frozenset({Scope.READ, Scope.WRITE}), Role.AGENT, None, LOCAL_OPERATOR)
    await services.agents.remember("agent-1", "host-1", "1.2.3", "v20260101")
    services.auditing.note_read("/api/iocs", LOCAL_OPERATOR)
    await services.auditing.flush()
    await JobRunner((), services.store, services.clock).run_once(Job("decay", 1.0, 9.0, node.maintenance.decay))
    await services.store.write(lambda tx: tx.db.run("INSERT INTO meta (name, value) VALUES ('a', 'b')"))
    await Correlator(services.store, services.screener, Pace()).run()
    await services.store.write(lambda tx: tx.db.run("INSERT INTO campaign_ban (campaign, indicator) VALUES (1, 1)"))
    await services.store.write(lambda tx: campaigns.make_due(tx, [1]))
    await services.store.write(_removals)
    node.close()


def _removals(tx: Transaction) -> None:
    """What is there only while something is being removed, or for a while after."""
    tx.db.run("INSERT INTO withdrawal (reporter, until) VALUES (1, 1)")
    tx.db.run("INSERT INTO leftover (indicator, type) VALUES (0, 1)")
    tx.db.run("INSERT INTO fading (indicator, type, reputation) VALUES (0, 1, 3)")
    tx.db.run("INSERT INTO hold (type, since, most, faded, held_at) VALUES (1, 1, 2000, 0, 1)")
    tx.db.run("INSERT INTO departed (indicator, id, type, value, at) VALUES (0, x'00', 1, '91.240.118.9', 1)")


async def _report(services: Services) -> None:
    await services.allowlist.add([AllowClaim("*.our-own.xyz", "ours", "2199-01-01T00:00:00Z")], LOCAL_OPERATOR)
    await services.reporting.submit(CLAIMS, LOCAL_OPERATOR, retry=Retry.of("first-try", b"body"))
    await services.reporting.submit(CLAIMS[:2], caller_without_key("198.51.100.1"))
    visit = Visit(
        "trap-1", "2a0c:9a40::1", "ssh", [Interaction("2026-01-01T00:00:00Z", "connect", None)], session_id="1"
    )
    await services.trapping.report(visit, LOCAL_OPERATOR)
    for kind in SightingKind:
        await services.reporting.sight("bad-login.xyz", "manual", kind, {"seen": kind.value}, LOCAL_OPERATOR)


async def _rules(services: Services) -> None:
    claims = [RuleClaim(f"ATR-{number}", "title: A rule\n", "atr") for number in (1, 2)]
    await services.rules.submit(claims, LOCAL_OPERATOR)
    await services.publisher.start()
    await services.rules.delete("ATR-2", LOCAL_OPERATOR)


async def _import(services: Services) -> None:
    preparer = Preparer(services.screener)
    rows = [preparer.prepare(f"91.241.0.{number}", IndicatorType.IP, None) for number in range(1, 6)]
    await services.importing.begin("run-1", "feed:acme", LOCAL_OPERATOR)
    await services.importing.store(ImportChunk("run-1", "feed:acme", "c2", 3, 0.8, rows))
    await services.importing.finish("run-1", {"rows": 5}, LOCAL_OPERATOR)


if __name__ == "__main__":
    print(make_released())
