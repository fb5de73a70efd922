"""The documents say what is: generated tables, names of tables, jobs, routes and commands, links, examples."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from threatcloud import cli
from threatcloud.cli.failures import ExitCode
from threatcloud.config import SETTINGS
from threatcloud.http.routes import ENDPOINTS

ROOT = Path(__file__).parents[1]
GENERATOR = ROOT / "scripts" / "generate-docs.py"
LEFT_OUT = {".git", ".venv", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache"}
SCHEMA = ROOT / "src" / "threatcloud" / "storage" / "schema" / "sqlite"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def files() -> list[Path]:
    """Every file of the project: what is not the environment, a cache, data or bytecode."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        at_top = {"data", "dist"} if Path(folder) == ROOT else set()
        folders[:] = [name for name in folders if name not in LEFT_OUT | at_top | {"__pycache__"}]
        found += [Path(folder) / name for name in names]
    return sorted(found)


DOCUMENTS = [path for path in files() if path.suffix == ".md"]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    """(document, text) of every block of code in a language."""
    for path in DOCUMENTS:
        for found, text in FENCE.findall(path.read_text("utf-8")):
            if found == language:
                yield path, text


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestGenerator:
    def test_generated_tables_are_up_to_date(self) -> None:
        done = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}; run: .venv/bin/python scripts/generate-docs.py"

    def test_a_stale_table_is_renewed_and_the_text_around_it_kept(self) -> None:
        stale = "before\n<!-- generated: x -->\nold\n<!-- end -->\nafter\n"
        fresh = "before\n<!-- generated: x -->\n| new |\n<!-- end -->\nafter\n"
        assert load_generator().renewed(stale, {"x": "| new |\n"}) == fresh

    @pytest.mark.parametrize("text", ["<!-- generated: y -->\n<!-- end -->\n", "<!-- generated: x -->\n| old |\n"])
    def test_a_wrong_marker_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError, match="marker"):
            load_generator().renewed(text, {"x": ""})


class TestCompleteness:
    @pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
    def test_every_setting_is_explained_to_operators(self, setting: Any) -> None:
        assert f"| `{setting.variable}` | `{setting.field}` |" in read("docs/operations.md")

    def test_every_table_of_the_database_is_explained(self) -> None:
        created = {
            name
            for path in SCHEMA.glob("*.sql")
            for name in re.findall(r"^CREATE TABLE (\w+)", path.read_text("utf-8"), re.MULTILINE)
        }
        explained = re.findall(
            r"^\| `(\w+)` \| (?:fact|projection|own state) \|", read("docs/architecture.md"), re.MULTILINE
        )
        assert created == set(explained)
        assert len(explained) == len(created)

    def test_every_job_is_explained(self) -> None:
        jobs = re.findall(r'\bJob\(\s*"([\w-]+)"', read("src/threatcloud/bootstrap.py"))
        section = read("docs/operations.md").partition("## Jobs")[2].partition("\n## ")[0]
        assert jobs
        assert re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE) == jobs

    def test_every_exit_code_is_explained(self) -> None:
        explained = re.findall(r"^\| (\d+) \|", read("docs/operations.md").partition("| exit code |")[2], re.MULTILINE)
        assert [int(code) for code in explained] == [0, *(int(code) for code in ExitCode)]

    def test_every_route_has_a_call(self) -> None:
        calls = "\n".join(text for path, text in blocks("sh") if path.name == "api.md")
        for endpoint in ENDPOINTS:
            pattern = re.sub(r"\\\{\w+\\\}", r"[^/\\s\"?]+", re.escape(endpoint.path))
            assert re.search(pattern + r'(?=["?\s,])', calls), endpoint.path

    def test_every_decision_is_listed(self) -> None:
        decisions = {path.name for path in (ROOT / "docs" / "adr").glob("*.md")}
        assert decisions == set(re.findall(r"\(adr/([\w-]+\.md)\) \|", read("docs/architecture.md")))


def slug(heading: str) -> str:
    """The anchor of a heading, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    prose = FENCE.sub("", path.read_text("utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    prose = FENCE.sub("", path.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        document = (path.parent / name).resolve() if name else path
        assert document.exists(), target
        assert document.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(document), target


class TestExamples:
    def test_the_commands_of_the_readme_are_there_and_can_be_run(self) -> None:
        named = set(re.findall(r"(?m)(?:^|`)(\./[\w./-]+)", read("README.md")))
        assert {"./threat-cloud", "./test"} <= named
        for name in named:
            assert os.access(ROOT / name, os.X_OK), name

    def test_json_is_json(self) -> None:
        texts = [text for _, text in blocks("json")]
        assert texts
        for text in texts:
            json.loads(text)

    def test_bodies_sent_by_curl_are_json(self) -> None:
        bodies = [body for _, text in blocks("sh") for body in re.findall(r"-d '([^']*)'", text)]
        assert bodies
        for body in bodies:
            json.loads(body)

    def test_settings_in_files_are_settings(self) -> None:
        fields = {setting.field for setting in SETTINGS}
        texts = [text for _, text in blocks("toml")]
        assert texts
        for text in texts:
            assert tomllib.loads(text).keys() <= fields

    def test_variables_are_settings(self) -> None:
        known = {setting.variable for setting in SETTINGS} | {
            "TC_API_KEY",
            "TC_URL",
            "TC_FUZZ_EXAMPLES",
        }
        for path in DOCUMENTS:
            assert set(re.findall(r"\bTC_[A-Z_]+\b", path.read_text("utf-8"))) <= known, path

    def test_commands_are_commands_of_ours(self) -> None:
        shown = [(path, words) for path in DOCUMENTS for words in commands_in(path.read_text("utf-8"))]
        assert len(shown) > 20
        for path, words in shown:
            problem = wrong_in(words)
            assert problem is None, f"{path.relative_to(ROOT)}: {' '.join(words)}: {problem}"


def commands_in(text: str) -> Iterator[list[str]]:
    """The words after ``threat-cloud`` in blocks of shell and in code between back quotes."""
    shell = "\n".join(body for language, body in FENCE.findall(text) if language == "sh").replace("\\\n", " ")
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in [*shell.splitlines(), *inline]:
        match = re.search(r"(?:^|\s)(?:\./|/opt/threat-cloud/)?threat-cloud ((?:--)?[a-z][^|<>&;#…]*)", line)
        if match:
            yield shlex.split(match[1])


def wrong_in(words: list[str]) -> str | None:
    """What is wrong with a command line, or None: every word of a group is a command, every option one of its own."""
    command: Any = get_command(cli.app)
    for word in words:
        below = getattr(command, "commands", {})
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        if word.startswith("-") and word != "-":
            if word.partition("=")[0] not in options | {"--help"}:
                return f"no option {word}"
        elif below:
            if word not in below:
                return f"no command {word}"
            command = below[word]
    return None


def test_a_wrong_command_would_be_noticed() -> None:
    assert wrong_in(["key", "make"]) == "no command make"
    assert wrong_in(["stats", "--colour"]) == "no option --colour"
    assert wrong_in(["stats", "--json"]) is None


#: Folders of people and of the machine a file was written on.
_MACHINE = re.compile(r"/(?:home|Users)/[\w.-]+/|/roo[t]/[\w.]|/wor[k]/|/tm[p]/bash")


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    for path in files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found = _MACHINE.search(text)
        assert found is None, f"{path.relative_to(ROOT)}: {found}"
