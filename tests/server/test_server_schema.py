"""The API is asked whatever its own schema allows, and much that it does not; its answers are held against it."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from mmsearch import Engine
from mmsearch.server import library

API = "/api/v1"

OPERATIONS = [
    ("DELETE", "/index"),
    ("GET", "/facets"),
    ("GET", "/index"),
    ("GET", "/items/{item}"),
    ("GET", "/items/{item}/media"),
    ("GET", "/items/{item}/thumbnail"),
    ("GET", "/items/{item}/waveform"),
    ("GET", "/query"),
    ("GET", "/status"),
    ("GET", "/uploads/{upload}"),
    ("GET", "/uploads/{upload}/thumbnail"),
    ("POST", "/feedback"),
    ("POST", "/index"),
    ("POST", "/items/{item}/moments"),
    ("POST", "/query"),
    ("POST", "/reveal"),
    ("POST", "/similar"),
    ("POST", "/uploads"),
]
"""All of them but /index/events, which has no end."""

if hasattr(Engine, "explain"):
    OPERATIONS.append(("POST", "/items/{item}/explain"))

CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def schema(live):
    return schemathesis.openapi.from_url(f"{live.url}{API}/openapi.json")


@pytest.fixture(autouse=True)
def _no_file_manager(monkeypatch):
    monkeypatch.setattr(library, "reveal_file", lambda path: None)


def test_every_operation_is_asked(schema):
    there = {(found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()}
    assert there == {(method, f"{API}{path}") for method, path in OPERATIONS} | {("GET", f"{API}/index/events")}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=["allowed", "not allowed"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(pair) for pair in OPERATIONS])
def test_whatever_is_asked_is_answered_as_the_schema_says(schema, item_of, method, path, mode):
    operation = schema[f"{API}{path}"][method]
    known = {"path_parameters": {"item": item_of("clip.mp4")}} if "{item}" in path else {}
    wanted = [*CHECKS, checks.negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS

    def asked(cases, examples):
        @given(case=cases)
        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case):
            case.call_and_validate(checks=wanted)

        ask()

    has_input = bool(operation.query or operation.path_parameters or operation.body)
    if mode is GenerationMode.NEGATIVE and not has_input:
        return
    asked(operation.as_strategy(generation_mode=mode), 10)
    if known and mode is GenerationMode.POSITIVE:  # an id out of thin air leads nowhere: the same of one that does
        asked(operation.as_strategy(generation_mode=mode, **known), 10)
