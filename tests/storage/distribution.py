"""How the tables of PostgreSQL would be spread over several machines, each table in one class (docs/scale.md)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Spread(NamedTuple):
    """The column whose value says on which shard a row is, and the table whose shards lie beside (None: nobody's)."""

    column: str
    beside: str | None = "indicator"


_OF_INDICATOR: Final = Spread("indicator")
#: What grows with indicators or sightings.
DISTRIBUTED: Final[Mapping[str, Spread]] = MappingProxyType(
    {
        "indicator": Spread("pk", None),
        "sighting": _OF_INDICATOR,
        "listing": _OF_INDICATOR,
        "evidence": _OF_INDICATOR,
        "label": _OF_INDICATOR,
        "feature": _OF_INDICATOR,
        "correlation_due": _OF_INDICATOR,
        "campaign_member": _OF_INDICATOR,
        "campaign_ban": _OF_INDICATOR,
        "feed_change": _OF_INDICATOR,
        "departed": _OF_INDICATOR,
        "fading": _OF_INDICATOR,
        "leftover": _OF_INDICATOR,
        # These have no indicator's number: what is named may not be stored (yet).
        "relation": Spread("subject", None),
        "feature_name": Spread("key", None),
        "log_entry": Spread("digest", None),
    }
)
#: Small, and joined with what is spread: a copy on each machine. Each with the reason why it is small.
REFERENCE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "source": "names of lists and feeds: hundreds",
        "reporter": "one for each key: thousands",
        "network": "networks among the indicators: lists of them have tens of thousands, and every look-up of an "
        "address asks for those around it",
        "campaign": "groups of indicators: thousands",
        "hold": "one for each held list",
    }
)
#: Small, and never joined with what is spread: on one machine as it is. Each with the reason why it is small.
LOCAL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "commit_clock": "one row",
        "last_number": "one row for each table that is numbered without gaps",
        "lease": "one for each thing one node does for all",
        "schema_version": "one for each step of the schema",
        "meta": "single values",
        "rollup_hour": "hours, types and categories, whatever is seen in them",
        "rollup_technique": "hours and techniques of ATT&CK",
        "rollup_trait": "hours, categories and what is told of attackers there",
        "rollup_last_seen": "hours, types, categories and countries",
        "rollup_total": "types, categories and statuses",
        "release": "published versions of the lists of 90 days",
        "snapshot": "one for each list",
        "rule": "written by people: thousands",
        "rule_gone": "rules that were deleted",
        "campaign_event": "what became of campaigns",
        "api_key": "given out by people",
        "withdrawal": "one for each key whose contributions are going now",
        "allowlist": "written by people",
        "agent": "one for each agent",
        "idempotency": "requests of one day",
        "audit_entry": "one chain, whose entries follow each other: it is in one place by its nature",
        "audit_detail": "one for each entry of the chain, less what was erased",
        "import_run": "one for each import",
        "job_run": "one for each job",
        "webhook": "made by people",
        "delivery": "batches of changes for each webhook, for as long as deliveries are kept",
        "polled_source": "named by people",
        "bouncer": "one for each bouncer that asks",
    }
)


def statements() -> list[str]:
    """What makes a database with our schema a distributed one, in the words of Citus and in an order that works."""
    return [
        *(f"SELECT create_reference_table('{table}');" for table in REFERENCE),
        *(
            f"SELECT create_distributed_table('{table}', '{column}', colocate_with => '{beside or 'none'}');"
            for table, (column, beside) in DISTRIBUTED.items()
        ),
    ]
