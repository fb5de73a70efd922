import pytest

from threatcloud.formats.readers.found import ColumnError, Line, Reject, Row
from threatcloud.formats.readers.plain import read, sniff


def test_one_value_a_line_with_its_line_number() -> None:
    lines = ["# a list", "192.0.2.1", "", "  hxxp://a[.]example/#top  ", ";", "b.example"]
    assert list(read(lines)) == [Row(2, "192.0.2.1"), Row(4, "hxxp://a[.]example/#top"), Row(6, "b.example")]


@pytest.mark.parametrize("line", ["192.0.2.0/24 ; SBL1", "192.0.2.0/24\t# why", "192.0.2.0/24 #", "192.0.2.0/24"])
def test_a_comment_may_follow_the_value(line: str) -> None:
    assert list(read([line])) == [Row(1, "192.0.2.0/24")]


def test_text_after_the_value_is_a_reject() -> None:
    assert list(read(["192.0.2.1 scanner"])) == [
        Reject(1, "192.0.2.1 scanner", "value", "has text after the value: a comment begins with # or ;")
    ]


@pytest.mark.parametrize("sink", ["0.0.0.0", "127.0.0.1", "::", "::1"])
def test_a_hosts_file_gives_its_names(sink: str) -> None:
    lines = [f"{sink} bad.example worse.example # both", f"{sink} localhost", "b.example"]
    assert list(read(lines)) == [Row(1, "bad.example"), Row(1, "worse.example"), Row(3, "b.example")]


def test_the_names_every_hosts_file_begins_with_are_passed_over() -> None:
    lines = ["127.0.0.1 localhost localhost.localdomain", "255.255.255.255 broadcasthost", "0.0.0.0 0.0.0.0"]
    assert list(read([*lines, "fe80::1%lo0 localhost", "ff00::0 ip6-mcastprefix"])) == []


def test_an_address_that_is_no_sink_is_not_a_hosts_line() -> None:
    assert [type(result) for result in read(["192.0.2.1 bad.example"])] == [Reject]


def test_rejects_of_the_source_pass_and_count_as_lines() -> None:
    broken = Reject(1, "?", "line", "is not UTF-8 text")
    lines: list[Line] = [broken, "a.example"]
    assert list(read(lines)) == [broken, Row(2, "a.example")]


def test_there_are_no_columns_to_choose() -> None:
    with pytest.raises(ColumnError, match="no columns"):
        read([], {"value": "1"})


def test_everything_may_be_a_plain_list() -> None:
    assert sniff([])
