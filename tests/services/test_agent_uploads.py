"""What deployed agents upload becomes claims: the words they use, and what is kept of the rest."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.report import CATEGORIES
from threatcloud.services.agent_uploads import (
    AgentEvent,
    TopCredential,
    TrapSummary,
    category_of,
    claim_of_event,
    claim_of_summary,
    tag_of,
)
from threatcloud.services.intake import Claim

WHEN = "2026-03-07T08:15:00Z"


@pytest.mark.parametrize(
    ("words", "category"),
    [
        (
            "brute force|BruteForce|ssh_bruteforce|SSH Brute-Force|rdp brute force attack|Credential Stuffing",
            "bruteforce",
        ),
        ("port scan|PORT_SCAN|scan|web-scanner|reconnaissance|Port Scans", "scanner"),
        ("phishing|Spear Phishing", "phishing"),
        ("c2|C&C|command and control|Command & Control|c2_beacon", "c2"),
        ("malware|malware_download|ransomware|Reverse Shell|crypto-mining", "malware"),
        ("exploit|sql injection|SQLi|RCE|remote_code_execution|Path Traversal|exploit attempt", "exploit"),
        ("botnet|DDoS|ddos attack|SYN flood", "botnet"),
        ("|ssh|attack|something else|data exfiltration", None),
    ],
)
def test_the_words_of_agents_fall_into_categories(words: str, category: str | None) -> None:
    assert {word: category_of(word) for word in words.split("|")} == dict.fromkeys(words.split("|"), category)


@given(st.text(max_size=256))
def test_any_word_is_a_category_or_a_safe_tag_or_nothing(word: str) -> None:
    claim = claim_of_event(AgentEvent("203.0.113.7", word, WHEN))
    assert isinstance(claim, Claim)
    tags = claim.metadata.get("tags", [])
    assert claim.category in {*CATEGORIES, None}
    assert not (claim.category and tags)
    assert all(re.fullmatch(r"[a-z0-9.:-]{1,64}", tag) for tag in tags)
    assert tags == ([tag_of(word)] if tag_of(word) and not claim.category else [])


def test_the_counts_of_credentials_add_up_and_names_are_kept_once() -> None:
    tried = [TopCredential("root", 40), TopCredential("admin", 2), TopCredential("root", 3)]
    claim = claim_of_summary(TrapSummary("203.0.113.7", "ssh_bruteforce", WHEN, service="SSH", credentials=tried))
    assert isinstance(claim, Claim)
    assert claim.metadata["usernames"] == ["root", "admin"]
    assert (claim.metadata["attempts"], claim.metadata["ports"], claim.metadata["protocols"]) == (45, [22], ["ssh"])
    assert (claim.category, claim.severity, claim.source) == ("bruteforce", "high", "honeypot")
