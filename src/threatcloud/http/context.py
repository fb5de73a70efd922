"""What handlers work with: the services of one running server."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from threatcloud.config import Settings
from threatcloud.http.endpoint import Endpoint
from threatcloud.http.kept import KeptAnswers
from threatcloud.http.metrics import RequestFigures
from threatcloud.http.rate_limit import RateLimiter
from threatcloud.http.shared_limits import SharedLimiter
from threatcloud.jobs import JobFigures
from threatcloud.services.access import KeyDesk, KeyRing
from threatcloud.services.agents import Agents
from threatcloud.services.allowing import AllowDesk
from threatcloud.services.analytics import Analytics
from threatcloud.services.auditing import Auditing
from threatcloud.services.bouncing import Bouncing
from threatcloud.services.campaigns import Campaigns
from threatcloud.services.charts import Charts
from threatcloud.services.deltas import Deltas
from threatcloud.services.erasure import Erasure
from threatcloud.services.feeds import IndicatorFeed
from threatcloud.services.holding import Holding
from threatcloud.services.imports import Importing
from threatcloud.services.lookup import Lookup
from threatcloud.services.misp_search import MispSearch
from threatcloud.services.publishing import Publisher
from threatcloud.services.readiness import Readiness
from threatcloud.services.rendering import Renderer
from threatcloud.services.replaying import Replaying
from threatcloud.services.reporting import Reporting
from threatcloud.services.rules import Rules
from threatcloud.services.screening import Screener
from threatcloud.services.sources import Sources
from threatcloud.services.stream import Hub
from threatcloud.services.taxii import Taxii
from threatcloud.services.trapping import Trapping
from threatcloud.services.webhooks import WebhookDesk
from threatcloud.services.withdrawal import Withdrawing
from threatcloud.storage.store import Clock, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a request may need, made once in bootstrap."""

    settings: Settings
    clock: Clock
    store: Store
    ring: KeyRing
    keys: KeyDesk
    screener: Screener
    allowlist: AllowDesk
    reporting: Reporting
    trapping: Trapping
    taxii: Taxii
    misp: MispSearch
    lookup: Lookup
    analytics: Analytics
    charts: Charts
    publisher: Publisher
    renderer: Renderer
    bouncing: Bouncing
    deltas: Deltas
    feeds: IndicatorFeed
    hub: Hub
    holding: Holding
    agents: Agents
    rules: Rules
    campaigns: Campaigns
    auditing: Auditing
    importing: Importing
    replaying: Replaying
    erasure: Erasure
    withdrawing: Withdrawing
    readiness: Readiness
    jobs: Callable[[], list[JobFigures]]
    webhooks: WebhookDesk
    sources: Sources
    limiter: RateLimiter
    pages: KeptAnswers
    shared_limiter: SharedLimiter | None = None
    endpoints: tuple[Endpoint, ...] = ()
    requests: RequestFigures = field(default_factory=RequestFigures)
    started_s: float = field(default_factory=time.monotonic)

    def uptime_s(self) -> int:
        """Whole seconds since the start."""
        return int(time.monotonic() - self.started_s)
