"""OpenAPI 3.1, made from the endpoint declarations: what is decoded, checked and answered is what is documented."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec

from threatcloud import __version__
from threatcloud.http.answer import JSON, Pagination
from threatcloud.http.endpoint import Access, Endpoint, RateClass
from threatcloud.http.errors import MEANING, Failure

_REF: Final = "#/components/schemas/{name}"
_BODY_ERRORS: Final = ("too_large", "unsupported_media_type")
#: What is refused before anybody knows which route is asked for, and so in our words.
_BEFORE_ROUTES: Final = frozenset({"uri_too_long"})
_ALWAYS: Final = ("invalid", "uri_too_long", "internal")
_REASONS: Final = {200: "OK", 201: "Created", 304: "Not modified"}
_HEADERS: Final = {
    "X-Request-Id": ("string", "names this request in the log"),
    "RateLimit-Limit": ("integer", "requests a minute"),
    "RateLimit-Remaining": ("integer", "requests left now"),
    "RateLimit-Reset": ("integer", "seconds until all of them are back"),
    "Retry-After": ("integer", "seconds to wait, at least 1"),
    "WWW-Authenticate": ("string", "`Bearer`"),
}
_RATE_HEADERS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_HEADERS_OF: Final = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


@lru_cache(maxsize=4)
def document_bytes(endpoints: tuple[Endpoint, ...]) -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document(endpoints))


def document(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """The OpenAPI document of the endpoints."""
    shapes = _shapes(endpoints)
    dialects = {endpoint.dialect for endpoint in endpoints if endpoint.dialect}
    schemas, components = msgspec.json.schema_components(shapes, ref_template=_REF)
    by_type = dict(zip(map(repr, shapes), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Threat Cloud",
            "version": __version__,
            "description": "Threat intelligence: reports in, honest blocklists out.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "headers": {
                name: {"description": text, "required": True, "schema": {"type": kind}}
                for name, (kind, text) in _HEADERS.items()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Feeds only: the key as password.",
                },
                **{
                    dialect.name: {"type": "apiKey", "in": "header", "name": dialect.key_header}
                    for dialect in sorted(dialects, key=lambda dialect: dialect.name)
                    if dialect.key_header
                },
            },
        },
    }


def _shapes(endpoints: tuple[Endpoint, ...]) -> list[Any]:
    shapes: list[Any] = [Failure, Pagination]
    for endpoint in endpoints:
        shapes += [
            endpoint.query,
            *_bodies(endpoint),
            endpoint.answer,
            *endpoint.also.values(),
            *(other.answer for other in endpoint.others),
            endpoint.dialect and endpoint.dialect.shape,
        ]
    return list({repr(shape): shape for shape in shapes if shape is not None and not isinstance(shape, str)}.values())


def _bodies(endpoint: Endpoint) -> tuple[Any, ...]:
    """The types a body may have, as documented."""
    documented = endpoint.documented_body or endpoint.body
    own = documented if isinstance(documented, tuple) else (documented,)
    return (*own, *(other.documented for other in endpoint.others))


def _operation(endpoint: Endpoint, schemas: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint, components),
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.body is not None:
        content: dict[str, Any] = {"schema": _any_of(_bodies(endpoint), schemas)}
        if endpoint.example is not None:
            content["example"] = endpoint.example
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(endpoint.takes, content)}
    elif endpoint.streams_body:
        file = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": file}}
    operation["security"] = _security(endpoint)
    operation["x-access"] = endpoint.access.value
    return operation


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    if endpoint.access is Access.OPEN:
        return [{}]
    basic: list[dict[str, list[str]]] = [{"basic": []}] if endpoint.access in {Access.FEEDS, Access.EXCHANGE} else []
    optional: list[dict[str, list[str]]] = [{}] if endpoint.access in {Access.READ, Access.FEEDS, Access.REPORT} else []
    dialect = endpoint.dialect
    own: list[dict[str, list[str]]] = [{dialect.name: []}] if dialect and dialect.key_header else []
    return [{"bearer": []}, *basic, *own, *optional]


def _parameters(endpoint: Endpoint, components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "description": text, "schema": _text(endpoint, name)}
        for name, text in endpoint.params.items()
    ]
    query = components.get(endpoint.query.__name__, {})
    for name, declared in query.get("properties", {}).items():
        schema = dict(declared)
        parameter = {"name": name, "in": "query", "required": name in query.get("required", ())}
        description = schema.pop("description", None) or _inner_description(schema)
        if description:
            parameter["description"] = description
        found.append({**parameter, "schema": schema})
    found += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": _text(endpoint, name)}
        for name, text in endpoint.headers.items()
    ]
    return found


def _text(endpoint: Endpoint, name: str) -> dict[str, Any]:
    pattern = endpoint.patterns.get(name)
    return {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}


def _inner_description(schema: dict[str, Any]) -> str | None:
    return next((part["description"] for part in schema.get("anyOf", ()) if "description" in part), None)


def _responses(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    headers = _headers("X-Request-Id", *(_RATE_HEADERS if endpoint.rate is not RateClass.NONE else ()))
    responses = {str(endpoint.status): _good(endpoint.status, _content(endpoint, schemas), headers)}
    for status, shape in endpoint.also.items():
        content = None if isinstance(shape, str) else {JSON: {"schema": _enveloped(schemas[repr(shape)])}}
        responses[str(status)] = _good(status, content, headers)
    for code in _error_codes(endpoint):
        meaning = MEANING[code][1]
        status, failure, media = _failure(endpoint, code)
        known = responses.setdefault(str(status), _bad(status, schemas[repr(failure)], media))
        known["description"] = " ".join(filter(None, [known.get("description"), f"`{code}`: {meaning}"]))
        if str(status) in responses and status == 404 and endpoint.also.get(404):
            envelope = known["content"][JSON]["schema"]
            known["content"][JSON]["schema"] = {"anyOf": [envelope, schemas[repr(Failure)]]}
    return dict(sorted(responses.items()))


def _failure(endpoint: Endpoint, code: str) -> tuple[int, Any, str]:
    """The status an endpoint answers for an error, and the shape and media type of the refusal."""
    status, dialect = MEANING[code][0], endpoint.dialect
    if dialect is None or code in _BEFORE_ROUTES:
        return status, Failure, JSON
    return dialect.status(status), dialect.shape, dialect.media.partition(";")[0]


def _content(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    if endpoint.answer is None:
        medias = (endpoint.media, *endpoint.other_media)
        return {media.partition(";")[0]: {"schema": {"type": _type_of(media)}} for media in medias}
    data = _any_of([endpoint.answer, *(other.answer for other in endpoint.others)], schemas)
    if endpoint.dialect:
        others = {media.partition(";")[0]: {"schema": {"type": "string"}} for media in endpoint.other_media}
        return {JSON: {"schema": data}, **others}
    if not endpoint.collection:
        return {JSON: {"schema": _enveloped(data)}}
    envelope = _enveloped({"type": "array", "items": data})
    envelope["properties"]["pagination"] = schemas[repr(Pagination)]
    envelope["required"].append("pagination")
    return {JSON: {"schema": envelope}}


def _type_of(media: str) -> str:
    name = media.partition(";")[0]
    return "object" if name == JSON or name.endswith(("+json", "/yaml")) else "string"


def _any_of(shapes: Iterable[Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that has one of the shapes; None is no shape."""
    found = [schemas[name] for name in dict.fromkeys(repr(shape) for shape in shapes if shape is not None)]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _enveloped(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"ok": {"const": True}, "data": data},
        "required": ["ok", "data"],
    }


def _good(status: int, content: dict[str, Any] | None, headers: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _REASONS.get(status, ""), "headers": headers}
    if content:
        answer["content"] = content
    return answer


def _bad(status: int, schema: dict[str, Any], media: str) -> dict[str, Any]:
    headers = _headers("X-Request-Id", *_HEADERS_OF.get(status, ()))
    return {"content": {media: {"schema": schema}}, "headers": headers}


def _headers(*names: str) -> dict[str, Any]:
    """Headers that such an answer always has."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _error_codes(endpoint: Endpoint) -> list[str]:
    codes = [*_ALWAYS, *endpoint.errors]
    if endpoint.access is not Access.OPEN:
        codes += ["unauthenticated", "forbidden"]
    if endpoint.body is not None or endpoint.streams_body:
        codes += _BODY_ERRORS
    if endpoint.rate is not RateClass.NONE:
        codes.append("rate_limited")
    if "busy" in codes or endpoint.access is not Access.OPEN:
        codes.append("storage_unavailable")
    return list(dict.fromkeys(codes))
