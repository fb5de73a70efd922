"""The shapes that deployed agents upload, and the claims they make: pure, and the one place of this mapping.

Two agents are in the field that speak shapes of their own: guards, which send what a rule of theirs matched, and
honeypots, which send summaries of what an attacker did. Both may cut an address to ``a.b.0.0``.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, field

from threatcloud.domain.errors import Problem
from threatcloud.domain.metadata import MAX_COUNT
from threatcloud.domain.technique import normalise_technique_id
from threatcloud.services.intake import Claim
from threatcloud.services.recording import MAX_TAG_LENGTH
from threatcloud.services.trapping import MAX_KEPT_CREDENTIALS, PORTS, SOURCE, USERNAME_CHARS

MAX_EVENTS: Final = 100
MAX_SUMMARIES: Final = 20
EVENT_SOURCE: Final = "guard-agent"
_MAX_WORDS: Final = 100

Word = Annotated[str, Meta(max_length=256)]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Address = Annotated[str, Meta(min_length=1, max_length=64, description="whole, or anonymised as a.b.0.0")]


class AgentEvent(msgspec.Struct):
    """What a guard saw: a match of one of its rules."""

    address: Address = field(name="attackSourceIP")
    attack_type: Word = field(name="attackType")
    timestamp: Time
    technique: Word | None = field(name="mitreTechnique", default=None)
    sigma_rule: Word | None = field(name="sigmaRuleMatched", default=None)
    region: Word | None = None
    industry: Word | None = None


class TopCredential(msgspec.Struct):
    """A user name that was tried, and how often."""

    username: Word
    count: Annotated[float, Meta(ge=0, le=MAX_COUNT, multiple_of=1)] = 1  # 5.0 is a way to write 5


class TrapSummary(msgspec.Struct):
    """What a honeypot gathered about one attacker."""

    address: Address = field(name="sourceIP")
    attack_type: Word = field(name="attackType")
    timestamp: Time
    service: Word | None = field(name="serviceType", default=None)
    techniques: Annotated[list[Word], Meta(max_length=_MAX_WORDS)] | None = field(name="mitreTechniques", default=None)
    skill_level: Word | None = field(name="skillLevel", default=None)
    intent: Word | None = None
    tools: Annotated[list[Word], Meta(max_length=_MAX_WORDS)] | None = None
    credentials: Annotated[list[TopCredential], Meta(max_length=1000)] | None = field(
        name="topCredentials", default=None
    )
    region: Word | None = None


#: What agents call their attacks, without case, separators, the service before and the "attack" behind.
_WORDS: Final = {
    "bruteforce": "bruteforce credentialstuffing passwordspraying passwordspray passwordguessing dictionary "
    "loginfailure failedlogin credential credentialaccess login",
    "scanner": "scan scanner scanning portscan portscanner portscanning networkscan vulnerabilityscan servicescan "
    "probe probing recon reconnaissance discovery enumeration hostdiscovery directoryenumeration crawler",
    "phishing": "phishing phish spearphishing credentialphishing smishing",
    "c2": "c2 cc cnc c2beacon c2communication c2traffic c2server commandandcontrol commandcontrol beacon beaconing",
    "malware": "malware malwaredownload malwaredelivery malwaredropper malwareupload trojan ransomware worm virus "
    "dropper backdoor rat stealer infostealer cryptominer cryptomining coinminer miner payload payloaddownload "
    "payloaddelivery spyware rootkit reverseshell webshell",
    "exploit": "exploit exploitation exploitattempt sqlinjection sqli injection codeinjection commandinjection rce "
    "remotecodeexecution codeexecution xss crosssitescripting lfi rfi fileinclusion localfileinclusion "
    "remotefileinclusion pathtraversal directorytraversal ssrf xxe deserialization log4shell shellshock "
    "bufferoverflow privilegeescalation",
    "botnet": "botnet bot ddos ddosbot dos denialofservice distributeddenialofservice flood synflood mirai",
}
_CATEGORIES: Final = {word: category for category, words in _WORDS.items() for word in words.split()}
_SERVICE: Final = re.compile(
    r"(?:ssh|ftp|sftp|telnet|rdp|smtp|smb|https?|web|imap|pop3|vnc|mysql|mssql|redis|sip)(?=.)"
)
_SEPARATORS: Final = re.compile(r"[\W_]+")
_UNSAFE: Final = re.compile(r"[^a-z0-9.:]+")


def category_of(attack_type: str) -> str | None:
    """The category of an agent's word for an attack, case and separators ignored; None where none fits."""
    word = _SEPARATORS.sub("", attack_type.casefold())
    bare = _SERVICE.sub("", word, count=1) if _SERVICE.match(word) else word
    spellings = (
        word,
        bare,
        *(each.removesuffix("s").removesuffix("attack").removesuffix("attempt") for each in (word, bare)),
    )
    return next((_CATEGORIES[each] for each in spellings if each in _CATEGORIES), None)


def tag_of(text: str) -> str | None:
    """A text as a tag: lower case, what is neither letter nor digit as ``-``, at most 64 characters; None if empty."""
    return _UNSAFE.sub("-", text.casefold())[:MAX_TAG_LENGTH].strip("-") or None


def claim_of_event(event: AgentEvent) -> Claim | list[Problem]:
    """The claim a guard's event makes, or what is wrong with it by the guard's names."""
    techniques = [event.technique] if event.technique else []
    category, metadata = _said(event.attack_type, techniques, event.region)
    metadata |= _filled(sigmaRuleMatched=event.sigma_rule, industry=event.industry)
    return _wrong("mitreTechnique", techniques) or Claim(
        "ip", event.address, EVENT_SOURCE, category, metadata=metadata, timestamp=event.timestamp
    )


def claim_of_summary(summary: TrapSummary) -> Claim | list[Problem]:
    """The claim a honeypot's summary makes, or what is wrong with it by the honeypot's names.

    As sure and as grave as a visit that is told whole (``services.trapping``).
    """
    techniques = [item for item in summary.techniques or () if item]
    category, metadata = _said(summary.attack_type, techniques, summary.region)
    service = tag_of(summary.service or "")
    tools = [tool for tool in summary.tools or () if tool]
    metadata |= _filled(serviceType=service, skillLevel=summary.skill_level, intent=summary.intent, tools=tools)
    metadata |= _filled(protocols=[service] if service else None, ports=[PORTS[service]] if service in PORTS else None)
    metadata["tags"] = ["honeypot", *metadata.get("tags", ())]
    if summary.credentials:
        names = dict.fromkeys(item.username[:USERNAME_CHARS] for item in summary.credentials)
        metadata["usernames"] = list(names)[:MAX_KEPT_CREDENTIALS]
    counted = sum(int(item.count) for item in summary.credentials or ())
    metadata["attempts"] = min(max(1, counted), MAX_COUNT)
    severity = "medium" if category in {None, "scanner"} else "high"
    return _wrong("mitreTechniques", techniques) or Claim(
        "ip", summary.address, SOURCE, category, severity, 0.95, metadata, summary.timestamp
    )


def _said(attack_type: str, techniques: list[str], region: str | None) -> tuple[str | None, dict[str, Any]]:
    """The category, and the metadata that both agents tell: an attack without a category is kept as a tag."""
    category = category_of(attack_type)
    tag = None if category else tag_of(attack_type)
    told = _filled(attackType=attack_type, tags=[tag] if tag else None, mitreIds=techniques, region=region)
    return category, told


def _filled(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _wrong(name: str, techniques: Iterable[str]) -> list[Problem]:
    if all(normalise_technique_id(item) for item in techniques):
        return []
    return [Problem(name, "must be an ATT&CK technique id such as T1110 or T1110.001")]
