"""Which routes any process may answer, over the whole table."""

import pytest

from threatcloud.http.endpoint import Access, Endpoint, RateClass
from threatcloud.http.local import ENDPOINTS as LOCAL_ENDPOINTS
from threatcloud.http.routes import ENDPOINTS

#: Asked for with a body, for its size alone.
READS_BY_POST = {"/api/iocs/lookup"}


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, *LOCAL_ENDPOINTS], ids=lambda item: f"{item.method} {item.path}")
def test_what_writes_is_answered_by_the_process_that_writes(endpoint: Endpoint) -> None:
    if endpoint.from_database:
        assert endpoint.method == "GET" or endpoint.path in READS_BY_POST
        assert endpoint.rate in (RateClass.READ, RateClass.NONE)
        assert endpoint.access in (Access.OPEN, Access.READ, Access.READ_PRIVATE)
    elif endpoint.method == "GET":
        at_home = (
            "/api/feeds",
            "/taxii2/",
            "/servers/",
            "/users/",
            "/api/agents",
            "/api/keys",
            "/api/allowlist",
            "/api/webhooks",
            "/api/sources",
            "/api/audit-log",
            "/metrics",
            "/ready",
        )
        lists = ("/api/v2/blacklist", "/v1/decisions")
        assert endpoint.path.startswith((*at_home, *lists)), "a look-up that only one process answers"
