"""
Whatever strangers send to a reader, it answers or refuses: no other error, no hang, no leak. With
`test_routes.py` at least 20,000 inputs at every run, the same ones.
"""

import logging
from collections.abc import Iterator

import pytest

from tests.fuzz.drive import Target, drive, resident_mb
from tests.fuzz.targets import Targets

INPUTS = 20_000
GROWTH_MB = 60


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of refusals, each kept by pytest, would be the leak that is looked for."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Target]]:
    with Targets(tmp_path_factory.mktemp("fuzz")) as made:
        yield made.table()


def test_every_reader_answers_or_refuses_and_holds_on_to_nothing(
    table: list[Target], subtests: pytest.Subtests
) -> None:
    tried = 0
    for target in table:
        with subtests.test(target.name):
            drive(target, target.tries // 10)  # until all is loaded that loads at its first use
            before = resident_mb()
            found = drive(target, target.tries)
            assert found >= target.tries
            assert resident_mb() - before < GROWTH_MB
            tried += found
    assert tried >= INPUTS
