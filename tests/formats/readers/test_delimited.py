import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.formats.readers.delimited import read, sniff
from threatcloud.formats.readers.found import ColumnError, Line, Passed, Reject, Row


def rows(text: str, **columns: str) -> list[Row | Reject]:
    return [found for found in read(text.splitlines(), columns) if not isinstance(found, Passed)]


def values(text: str, **columns: str) -> list[tuple[int, str, str | None]]:
    return [row[:3] for row in rows(text, **columns) if isinstance(row, Row)]


def fields(header: str, line: str) -> object:
    (row,) = rows(f"{header}\n{line}")
    assert isinstance(row, Row)
    return row.fields


def test_a_header_in_a_comment() -> None:
    text = "#value\tsources\textra\n0--0.example\tlist-a,list-b\tlist-a=x\nb.example\tlist-a\t\n"
    assert rows(text) == [Row(2, "0--0.example"), Row(3, "b.example")]


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
def test_delimiters(delimiter: str) -> None:
    text = "type|indicator|note\ndomain|a.example|x\nip|192.0.2.1|y".replace("|", delimiter)
    assert values(text) == [(2, "a.example", "domain"), (3, "192.0.2.1", "ip")]


@pytest.mark.parametrize(
    ("header", "line", "value", "kind"),
    [
        ("cidr\tsources", "192.0.2.0/24\tx", "192.0.2.0/24", "ip"),
        ("#ip,ioc", "192.0.2.1,Possible C2", "192.0.2.1", "ip"),
        ("Indicator,Data,Notes", "sha256,00ff,x", "00ff", "hash"),
        ("IoC,IoC_Type,Type", "a.example,domainname,Rapid", "a.example", "domain"),
        ("value,entity_type", "a.example,hostname", "a.example", "domain"),
        ("origin,scope,value,reason,type", "cscli,ip,192.0.2.1,why,ban", "192.0.2.1", "ip"),
        ("#fields\tindicator\tindicator_type\tmeta.source", "192.0.2.1\tIntel::ADDR\tx", "192.0.2.1", "ip"),
        ("id,dateadded,url,url_link", "1,2026-01-01,http://a.example/,x", "http://a.example/", "url"),
        (
            '# "first_seen_utc","ioc_value","ioc_type"',
            '"x", "192.0.2.1:443", "ip:port"',
            "192.0.2.1:443",
            "ip",
        ),
        ("# ASN  |  saddr  |  utc", "64496  |  192.0.2.1  |  2026-01-01", "192.0.2.1", "ip"),
        ("ip,type", "192.0.2.1,scanner", "192.0.2.1", "ip"),
        ("value,type", "192.0.2.1,", "192.0.2.1", None),
        ("md5_hash,sha1_hash", " ,00ff", "00ff", "hash"),
        ("domain", "a.example", "a.example", "domain"),
    ],
)
def test_the_columns_of_the_value_and_its_type(header: str, line: str, value: str, kind: str | None) -> None:
    assert values(f"{header}\n{line}") == [(2, value, kind)]


def test_without_a_header_the_value_is_in_column_1() -> None:
    assert values("192.0.2.1,credential,4\n192.0.2.2,,5") == [(1, "192.0.2.1", None), (2, "192.0.2.2", None)]


@pytest.mark.parametrize("line", ["ip,192.0.2.1", "domain,a.example", "url,http://a/", "md5," + "0af1" * 8])
def test_a_row_is_not_taken_for_a_header(line: str) -> None:
    assert [(number, kind) for number, _, kind in values(line, value="2", type="1")] == [(1, rows_type(line))]


def rows_type(line: str) -> str:
    return {"ip": "ip", "domain": "domain", "url": "url", "md5": "hash"}[line.partition(",")[0]]


def test_a_comment_in_prose_is_no_header() -> None:
    assert values("# ip, domain\n192.0.2.1\n192.0.2.2") == [(2, "192.0.2.1", None), (3, "192.0.2.2", None)]


def test_comments_and_blank_lines_are_passed_over() -> None:
    assert values("\n# about\nvalue,tags\n# more\n\na.example,x\n# end\n") == [(6, "a.example", None)]


@pytest.mark.parametrize(
    ("column", "text", "field", "expected"),
    [
        ("category", "C2", "category", "c2"),
        ("threat_type", "botnet_cc", "category", "c2"),
        ("Severity", "High", "severity", "high"),
        ("confidence", "0.9", "confidence", 0.9),
        ("confidence", "90", "confidence", 0.9),
        ("confidence", "1%", "confidence", 0.01),
        ("confidence", "Medium", "confidence", 0.5),
        ("confidence", "much", "confidence", "much"),
        ("confidence", "nan", "confidence", "nan"),
        ("confidence_level", "1", "confidence", 0.01),
        ("ConfidenceScore", "100", "confidence", 1.0),
        ("ConfidenceScore", "high", "confidence", 0.85),
        ("detected_date", "2026-03-07", "timestamp", "2026-03-07"),
        ("expires", "2026-03-07", "expiresAt", "2026-03-07"),
        ("TLP", "GREEN", "tlp", "green"),
        ("source", "x", "source", "x"),
    ],
)
def test_fields_of_the_report(column: str, text: str, field: str, expected: object) -> None:
    assert fields(f"value,{column}", f"a.example,{text}") == {field: expected}


@pytest.mark.parametrize(
    ("column", "text", "field", "expected"),
    [
        ("tags", "elf; mips ;;Mozi", "tags", ["elf", "mips", "Mozi"]),
        ("category", "ssh login", "tags", ["ssh login"]),
        ("dst port", "443", "ports", [443]),
        ("ports", "80;443;http;70000", "ports", [80, 443]),
        ("country", "de", "country", "DE"),
        ("asn", "64496", "asn", "AS64496"),
        ("asn", "as64496 Example", "asn", "AS64496"),
        ("mitre_id", "T1110|t1078;Brute Force", "mitreIds", ["T1110", "T1078"]),
        ("malware_printable", "Vidar", "malwareFamily", "Vidar"),
        ("attempts", "12", "attempts", 12),
        ("protocol", "tcp", "protocols", ["tcp"]),
    ],
)
def test_fields_of_the_metadata(column: str, text: str, field: str, expected: object) -> None:
    assert fields(f"value,{column}", f"a.example,{text}") == {"metadata": {field: expected}}


@pytest.mark.parametrize("text", ["", "-", "None", "null", "N/A", "(empty)", "Unknown"])
def test_what_says_nothing_is_no_field(text: str) -> None:
    assert fields("value,country,asn", f"a.example,{text},NA") is None


@pytest.mark.parametrize(
    ("column", "text"),
    [("port", "http"), ("port", "9" * 5000), ("attempts", "many"), ("technique", "Brute Force")],
)
def test_what_is_not_of_its_kind_is_no_field(column: str, text: str) -> None:
    assert fields(f"value,{column}", f"a.example,{text}") is None


def test_the_last_time_seen_comes_before_the_first_where_it_is_known() -> None:
    header = "value,first_seen,last_seen"
    assert fields(header, "a.example,2026-01-01,2026-02-02") == {"timestamp": "2026-02-02"}
    assert fields(header, "a.example,2026-01-01,") == {"timestamp": "2026-01-01"}


def test_a_category_that_is_none_joins_the_tags() -> None:
    assert fields("value,tags,category", "a.example,x,spam") == {"metadata": {"tags": ["x", "spam"]}}


def test_columns_by_number_and_by_name() -> None:
    text = "when,what,how\n2026-03-07,a.example,x;y"
    expected = [Row(2, "a.example", None, {"timestamp": "2026-03-07", "metadata": {"tags": ["x", "y"]}})]
    assert rows(text, value="What", timestamp="when", tags="how") == expected
    assert rows(text, value="what", timestamp="1", tags="3") == expected
    assert values("2026-03-07,a.example", value="2") == [(1, "a.example", None)]
    assert values("url,ip\nhttp://a.example/,192.0.2.1", value="ip") == [(2, "192.0.2.1", "ip")]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("value,b\nx,y", {"value": "3"}, "no column '3'; the table has: 1 value, 2 b"),
        ("a,b\nx,y", {"value": "c"}, "no column 'c': the table has no header"),
        ("a,b\nx,y", {"tags": "b"}, "which column holds the value.* 1 a, 2 b"),
        ("value,b\nx,y", {"value": "0"}, "no column '0'"),
        ("a,b\nx,y", {"colour": "b"}, "no field 'colour'"),
    ],
)
def test_a_choice_that_does_not_fit_is_an_error(text: str, columns: dict[str, str], message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        rows(text, **columns)


def test_rejects_name_the_line_and_the_field() -> None:
    text = "type,value\nfilepath,C:\\x\nip\nip,\nip,192.0.2.1"
    assert rows(text) == [
        Reject(2, "filepath,C:\\x", "type", "'filepath' is no type of indicator"),
        Reject(3, "ip", "value", "has no value"),
        Reject(4, "ip,", "value", "has no value"),
        Row(5, "192.0.2.1", "ip"),
    ]


def test_a_quoted_cell_may_hold_delimiters_quotes_and_line_ends() -> None:
    text = 'value,tags\na.example,"x, ""y"""\nb.example,"first\n# second\n"\nc.example,z'
    assert [(row.line, row.value, row.fields) for row in rows(text) if isinstance(row, Row)] == [
        (2, "a.example", {"metadata": {"tags": ["x", '"y"']}}),
        (3, "b.example", {"metadata": {"tags": ["first\n# second"]}}),
        (6, "c.example", {"metadata": {"tags": ["z"]}}),
    ]


@pytest.mark.parametrize("broken", ['"b.example,x', '"b.example"z,x'])
def test_quotes_that_do_not_match_cost_one_line_only(broken: str) -> None:
    good = [f"{number}.example,x" for number in range(300)]
    results = list(read(["value,tags", "a.example,x", broken, *good]))
    rejects = [result for result in results if isinstance(result, Reject)]
    assert rejects == [Reject(3, broken, "line", "has quotes that do not match")]
    assert [result[:2] for result in results if isinstance(result, Row)] == [
        (2, "a.example"),
        *((number + 4, f"{number}.example") for number in range(300)),
    ]


def test_a_broken_line_inside_quotes_keeps_its_place() -> None:
    broken = Reject(3, "?", "line", "is not UTF-8 text")
    lines: list[Line] = ["value,tags", 'a.example,"x', broken, 'y"', "b.example,z"]
    assert [result[0] for result in read(lines)] == [2, 3, 4, 5]


def test_rejects_of_the_source_before_the_header_pass() -> None:
    broken = Reject(1, "?", "line", "is not UTF-8 text")
    lines: list[Line] = [broken, "value,tags", "a.example,x"]
    assert [result[:2] for result in read(lines)] == [(1, "?"), (3, "a.example")]


def test_nothing_gives_nothing() -> None:
    assert rows("") == []
    assert rows("# only\n\n# comments") == []


CELL = st.text(st.characters(categories=("L", "N", "P", "Zs"), include_characters='\n",'), max_size=8)


@given(st.lists(st.tuples(st.from_regex(r"[a-z]{1,9}\.example", fullmatch=True), CELL, CELL), max_size=20))
def test_every_record_that_a_csv_writer_writes_is_read_back(records: list[tuple[str, str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("value", "b", "c"), *records])
    results = [found for found in read(text.getvalue().split("\n")) if not isinstance(found, Passed)]
    assert [result.value for result in results if isinstance(result, Row)] == [record[0] for record in records]
    assert len(results) == len(records)


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)))
def test_no_text_breaks_the_reader_or_the_sniffer(lines: list[str]) -> None:
    sniff(lines)
    results = [found for found in read(lines) if not isinstance(found, Passed)]
    assert [result.line for result in results] == sorted(result.line for result in results)
    assert all(1 <= result.line <= len(lines) for result in results)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("#value\tsources\na.example\tx", True),
        ("domain\na.example", True),
        ("192.0.2.1,a,b\n192.0.2.2,a,b", True),
        ("192.0.2.1,a,b", True),
        ("192.0.2.1\tx", True),
        ("# about\n192.0.2.1\n192.0.2.2", False),
        ("192.0.2.0/24 ; why\n198.51.100.0/24 ; why", False),
        ("http://a.example/x,y", False),
        ("http://a.example/x,y\nhttp://b.example/", False),
        ("0.0.0.0 a.example", False),
        ("", False),
        ("# only comments", False),
    ],
)
def test_sniff(text: str, is_one: bool) -> None:
    assert sniff(text.splitlines()) is is_one
