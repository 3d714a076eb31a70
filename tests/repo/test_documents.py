"""What the pages promise, the code keeps: settings, models, metrics, commands, versions."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import app
from backends.families import FAMILIES
from backends.serving.wire import SHAPES
from backends.settings import setting_names
from backends.telemetry import Instruments
from ui import shell
from ui.tabs import TABS

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def made(module: str) -> str:
    """The page that the module of docs/ would write."""
    run = f"import {module} as m; print(m.page(), end='')"
    return subprocess.run(
        [sys.executable, "-c", run], cwd=ROOT / "docs", capture_output=True, text=True, check=True
    ).stdout


def test_the_configuration_page_is_what_the_settings_say() -> None:
    page = made("make_configuration")
    assert read("docs/configuration.md") == page, "run: make docs"
    assert not [name for name in setting_names() if f"| `{name}` |" not in page]


def test_every_family_has_a_tab_a_wire_shape_and_a_place_in_the_readme() -> None:
    assert set(FAMILIES) == set(TABS) == set(SHAPES)
    assert not [
        f.title[0] for f in FAMILIES.values() if f"**{f.title[0]}**" not in read("README.md")
    ]
    assert not [name for name in FAMILIES if f"`POST /v1/{name}`" not in read("docs/api.md")]


def test_the_models_page_is_what_the_tables_and_the_passages_say() -> None:
    page = made("make_models")
    assert read("docs/models.md") == page, "run: make docs"
    models = [model for family in FAMILIES.values() for model in family.models.values()]
    assert not [m.name for m in models if f"| `{m.name}` |" not in page]
    assert {p.stem for p in (ROOT / "docs/models").iterdir()} == set(FAMILIES)


def test_a_checkpoint_says_where_it_is_fetched_how_large_it_is_and_what_it_must_be() -> None:
    """And what is not its own package says which files it needs."""
    models = [model for family in FAMILIES.values() for model in family.models.values()]
    finds = [m.name for m in models if m.source.count("/") == 1 and " " not in m.source and m.load]
    checkpoints = {m.name: m for m in models if m.files}
    assert set(finds) <= set(checkpoints)
    assert not [n for n, m in checkpoints.items() if not (m.parameters and m.architecture)]
    assert not [n for n, m in checkpoints.items() if m.may_download and not m.hubs]


def test_the_metrics_table_is_what_the_process_exposes() -> None:
    exposed = {
        f"| `{metric.name}{'_total' if metric.type == 'counter' else ''}` | {metric.type} "
        f"| {metric.documentation} |"
        for metric in Instruments().registry.collect()
    }
    rows = re.findall(r"^\| `quartet_.*\|$", read("docs/operating.md"), re.MULTILINE)
    assert set(rows) == exposed


def test_every_part_of_the_backends_stands_in_the_architecture() -> None:
    page = read("docs/architecture.md")
    parts = [p for folder in ("backends", "ui") for p in (ROOT / folder).iterdir()]
    names = {f"{p.name}/" if p.is_dir() else p.name for p in parts if not p.name.startswith("__")}
    screens = {p.name for p in (ROOT / "ui").iterdir() if p.is_file()}  # said as one there
    assert not [name for name in names - screens if f"  {name} " not in page]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    files = re.findall(r"`((?:backends|ui|tests|docs|benchmarks)/[\w/.-]+)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [file for file in files if not (ROOT / file).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9]+):", read("Makefile"), re.MULTILINE))
    assert not {t for t in re.findall(r"`make ([a-z0-9]+)", text) if t not in targets}
    for command in re.findall(r"python app\.py (\S[^`\n]*)", text):
        given = ["who" if word.isupper() else word for word in command.split()]
        asked = app.parser().parse_args(given)  # leaves with an error where there is no such thing
        assert asked


def test_the_readme_names_the_command_that_ci_runs() -> None:
    assert "`make test`" in read("README.md")
    assert re.search(r"^make test ", read(".ci/run"), re.MULTILINE)


def test_one_version_everywhere_and_the_changelog_has_it() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert project == app.VERSION == shell.VERSION
    assert re.search(rf"^## {re.escape(project)}\b", read("CHANGELOG.md"), re.MULTILINE)
