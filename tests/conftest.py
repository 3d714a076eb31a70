"""
What every tier shares: a clean environment, a free port, a state folder, and no silent skips.

With REQUIRE_ALL=1 a test that skips fails, with its own sentence: a machine that is meant to
have everything must not pass by leaving tests out.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("calm", deadline=None)  # no test asserts seconds
settings.load_profile("calm")

for name in [name for name in os.environ if name.upper().startswith("QUARTET_")]:
    del os.environ[name]  # a developer's own settings are not the tests' settings


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: Any) -> None:
    if os.environ.get("REQUIRE_ALL") == "1":
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Nothing may be skipped here (REQUIRE_ALL=1). {why}"


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """An empty folder for what must survive, such as accounts and records."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder
