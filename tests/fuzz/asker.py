"""
Asks every route of a server's /openapi.json what schemathesis makes of it, data that fits and data
that does not; a process of its own, because schemathesis exchanges parts of hypothesis when it is
imported, and other tests' failures would no longer name the input.

    python -m tests.fuzz.asker ADDRESS COOKIE TRIES

Prints what was tried and answered, or fails with the first answer that is not as described.
"""

import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.drive import PATIENCE
from tests.fuzz.strategies import DATA_URI

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
RIGHT: Mapping[str, list[str]] = defaultdict(
    lambda: ["a text"],
    image=[DATA_URI] * 4,
    source=[DATA_URI] * 3 + ["en", "auto"],
    target=[DATA_URI] * 3 + ["pt"] * 3,
    source_lang=["en"],
    q=["a text", "um texto"],
    target_lang=["pt"],
)
OPTIONAL = {"model", "timeout", "stream", "glossary_id", "data_1", "data_2", "text_1", "text_2"}


class Asker:
    """Asks one server, as somebody who signed in, and counts what was tried and answered."""

    def __init__(self, address: str, cookie: str) -> None:
        self.address = address
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["cookie"] = cookie
        self.jobs: list[str] = []
        self.tried = 0
        self.told: Counter[int] = Counter()

    def operations(self) -> list[Any]:
        schema = schemathesis.openapi.from_url(f"{self.address}/openapi.json")
        found = [each.ok() for each in schema.get_all_operations()]
        return sorted(found, key=lambda each: each.method == "delete")  # while there is something

    def drive(self, operation: Any, mode: GenerationMode, tries: int) -> None:
        @settings(
            max_examples=tries,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(operation.as_strategy(generation_mode=mode), st.integers(0, 2**32))
        def one(case: Any, seed: int) -> None:
            if mode is GenerationMode.POSITIVE:
                self._mend(case, random.Random(seed))
            self._ask(case)

        with suppress(Unsatisfiable):  # what takes no input has no wrong one
            one()

    def _mend(self, case: Any, chance: random.Random) -> None:
        """
        A schema cannot say what a picture is, which languages there are, or whose a job is: of
        the inputs that fit it, most are given some, so that they come as far as a model.
        """
        if "job" in (case.path_parameters or {}) and self.jobs and chance.random() < 0.7:
            case.path_parameters["job"] = chance.choice(self.jobs[-20:])
        if chance.random() < 0.8:
            case.headers.pop("x-timeout", None)
        if isinstance(case.body, dict) and chance.random() < 0.7:
            _mend_body(case.body, chance)

    def _ask(self, case: Any) -> None:
        self.tried += 1
        answer = case.call(session=self.session, timeout=PATIENCE)
        self.told[answer.status_code] += 1
        assert answer.status_code != HTTPStatus.INTERNAL_SERVER_ERROR, answer.text
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code == HTTPStatus.ACCEPTED:
            self.jobs.append(answer.json()["id"])


def _mend_body(body: dict[str, Any], chance: random.Random) -> None:
    for name in OPTIONAL & set(body):
        if chance.random() < 0.8:
            del body[name]
    for name, value in body.items():
        if isinstance(value, str | bytes):
            body[name] = chance.choice([*RIGHT[name], value])
    if isinstance(body.get("options"), dict):
        body["options"] = {"consent": True}


def main(address: str, cookie: str, tries: str) -> None:
    asker = Asker(address, cookie)
    operations = asker.operations()
    for operation in operations:
        for mode in GenerationMode:
            asker.drive(operation, mode, int(tries))
    found = {"operations": len(operations), "tried": asker.tried, "told": dict(asker.told)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
