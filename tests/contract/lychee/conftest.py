"""A tiny Lychee checkpoint and its engine, for the tests of one file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import lychee  # a machine without torch skips these tests

    models = tmp_path_factory.mktemp("models")
    lychee.build(models / lychee.SOURCE)
    return models


@pytest.fixture(scope="module")
def engine(folder: Path, one_torch_thread: None) -> Iterator[Any]:
    from tests.tiny.lychee import load

    engine = load(folder)
    yield engine
    engine.close()
