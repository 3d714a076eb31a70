"""Tiny checkpoints of every HY-MT row, for the tests of one file."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import hymt  # a machine without torch skips these tests

    return hymt.build_all(tmp_path_factory.mktemp("models"))
