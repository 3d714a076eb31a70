"""A hub with one small checkpoint."""

from collections.abc import Iterator

import pytest

from tests.checkpoints import SMALL
from tests.hub import Hub, hub


@pytest.fixture
def small() -> Iterator[Hub]:
    with hub(o__n=SMALL) as served:
        yield served
