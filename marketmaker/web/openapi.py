"""The table of routes as an OpenAPI 3.0 description (what the packaged Swagger UI reads); answers are described by the classes they are made from."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from marketmaker import __version__
from marketmaker.model.view import ErrorView
from marketmaker.web.routes import NOT_TRADING, ROUTES, Access, Query, Route

Json = dict[str, Any]
PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
SYMBOL_PATTERN = "^[A-Z0-9/:_-]{2,60}$"
REFUSALS = (
    (400, "the request cannot be understood"),
    (403, "asked from a page or by a name that is not allowed"),
    (421, "asked by a name that is not ours"),
)
BODIES: dict[str, Json] = {
    NOT_TRADING: {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "symbols": {
                "type": "array",
                "items": {"type": "string", "pattern": SYMBOL_PATTERN},
                "maxItems": 1000,
                "description": "which symbols; all when empty or left out",
            }
        },
    },
    "RELOAD": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "apply": {
                "type": "boolean",
                "description": "false or left out: say what would change; true: change it",
            }
        },
    },
}


@cache
def description() -> Json:
    schemas: Json = {}
    paths: Json = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, schemas)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "marketmaker",
            "version": __version__,
            "description": "What a running daemon shows, and what may be asked of it.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def operation(route: Route, schemas: Json) -> Json:
    found: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {"200": answer(route, "as asked", schemas)},
    }
    refusals = [*REFUSALS]
    if route.access is not Access.PUBLIC:
        refusals.append((401, "the token is missing or wrong"))
        found["security"] = [{"token": []}]
        if route.access is Access.READ:
            found["security"].append({})
    if route.body:
        refusals += [
            (413, "the body is longer than anything that makes sense"),
            (415, "the body is not JSON"),
        ]
        found["requestBody"] = {
            "required": False,
            "content": {"application/json": {"schema": BODIES[route.body]}},
        }
    if route.query:
        found["parameters"] = [parameter(query) for query in route.query]
    for code, what in refusals:
        found["responses"][str(code)] = error(what, schemas)
    for code, what in route.codes:
        is_health = route.answer is not None and route.answer.__name__ == "HealthView"
        found["responses"][str(code)] = (
            answer(route, what, schemas) if is_health else error(what, schemas)
        )
    return found


def parameter(query: Query) -> Json:
    schema: Json = {"type": "string"}
    if query.choices:
        schema["enum"] = list(query.choices)
    elif query.least is not None:
        schema = {"type": "integer", "minimum": query.least, "maximum": query.most}
    else:
        schema["pattern"] = SYMBOL_PATTERN
    return {
        "name": query.name,
        "in": "query",
        "description": query.what,
        "required": query.required,
        "schema": schema,
    }


def answer(route: Route, what: str, schemas: Json) -> Json:
    schema: Json = {"type": "string"}
    if route.answer is not None:
        schema = schema_of(route.answer, schemas)
    elif route.media == "application/json":
        schema = {"type": "object"}
    return {"description": what, "content": {route.media: {"schema": schema}}}


def error(what: str, schemas: Json) -> Json:
    schema = schema_of(ErrorView, schemas)
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def schema_of(hint: Any, schemas: Json) -> Json:
    """Raises TypeError for a type hint that has no JSON form."""
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return {"type": "array", "items": schema_of(arguments[0], schemas)}
        return {
            "type": "array",
            "items": {"anyOf": [schema_of(each, schemas) for each in arguments]},
            "minItems": len(arguments),
            "maxItems": len(arguments),
        }
    if is_dataclass(hint) and isinstance(hint, type):
        return reference(hint, schemas)
    raise TypeError(f"{hint!r} has no JSON schema")


def reference(kind: type, schemas: Json) -> Json:
    if kind.__name__ not in schemas:
        schemas[kind.__name__] = {}
        hints = get_type_hints(kind)
        properties: Json = {}
        required: list[str] = []
        for field in fields(kind):
            hint = hints[field.name]
            inner = without_none(hint)
            if inner is hint:
                required.append(field.name)
            properties[field.name] = schema_of(inner, schemas)
        schemas[kind.__name__] = {
            "type": "object",
            "description": " ".join((inspect.getdoc(kind) or "").split()),
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def without_none(hint: Any) -> Any:
    """The hint without None, which is left out of the JSON; the hint itself where it has none."""
    if get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint):
        (inner,) = (part for part in get_args(hint) if part is not NoneType)
        return inner
    return hint
