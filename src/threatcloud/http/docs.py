"""``/docs``: the OpenAPI document as one page, rendered here, without scripts and without anything from elsewhere."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from threatcloud.http.endpoint import Endpoint
from threatcloud.http.openapi import document

if TYPE_CHECKING:
    from jinja2 import Environment

HTML: Final = "text/html; charset=utf-8"
CSS: Final = "text/css; charset=utf-8"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
}


@lru_cache(maxsize=1)
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader  # a twentieth of the server's start, and few ever look at the page

    loader = PackageLoader("threatcloud.http", "pages")
    templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    templates.filters["prose"] = _prose
    return templates


def _prose(text: str) -> Markup:
    """A description with its code words (in back quotes) marked up, everything else escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped on this very line


_CODE: Final = re.compile(r"`{1,2}([^`]+)`{1,2}")


@lru_cache(maxsize=4)
def page(endpoints: tuple[Endpoint, ...]) -> bytes:
    """The page."""
    api = document(endpoints)
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    sections = {tag["name"]: [item for item in operations if tag["name"] in item["tags"]] for tag in api["tags"]}
    text = _templates().get_template("docs.html").render(api=api, sections=sections, words=_words)
    return text.encode()


@lru_cache(maxsize=1)
def style() -> bytes:
    """The style sheet."""
    templates = _templates()
    assert templates.loader is not None
    return templates.loader.get_source(templates, "docs.css")[0].encode()


def _words(schema: dict[str, Any]) -> str:
    """A schema in a few words: its type, bounds and choices."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_words(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_words(schema.get('items', {}))}"
    bounds = [f"{sign} {schema[key]}" for key, sign in _BOUNDS.items() if key in schema]
    words = [str(schema.get("type", "any")), *bounds]
    return " ".join(words) + (f" (default {schema['default']})" if schema.get("default") is not None else "")


_BOUNDS: Final = {
    "minimum": "≥",
    "maximum": "≤",
    "minLength": "length ≥",
    "maxLength": "length ≤",
    "minItems": "items ≥",
    "maxItems": "items ≤",
    "pattern": "like",
}
