"""What the pages promise, the code keeps: settings, models, metrics, commands, versions."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import app
from backends.engines.hub import amount
from backends.families import FAMILIES, Family
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


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_model_says_licence_territory_and_what_it_is_and_a_checkpoint_its_memory(
    family: Family,
) -> None:
    """On the page, in the family's part: neither a cell that is empty nor a memory of nothing."""
    part = re.split(r"^## ", read("docs/models.md"), flags=re.MULTILINE)
    (lines,) = (p.splitlines() for p in part if p.startswith(f"{family.title[0]}\n"))
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    told = {row[0].strip("`"): row for row in rows if row[1].startswith(("yes", "no"))}
    memory = {row[0].strip("`"): row[1:3] for row in rows if re.fullmatch(r"[1-9].* [MG]B", row[1])}
    for model in family.models.values():
        loads, *cells = told[model.name][1:6]
        assert loads.split(",")[0] == ("yes" if model.load else "no")
        assert cells == [model.licence, model.territory, model.device, model.about[0]]
        assert all((*cells, *model.about))
    checkpoints = [model for model in family.models.values() if model.files]
    sizes = {m.name: [amount(2 * m.parameters), amount(m.parameters)] for m in checkpoints}
    assert memory == sizes


def test_further_families_have_their_row_and_no_code() -> None:
    named = {
        "rerank": {"qwen3-vl-reranker", "qwen3-reranker", "mxbai-rerank-v2", "jina-reranker-m0",
                   "monoqwen2-vl", "bge-reranker-v2-gemma"},
        "fusion": {"ghost", "hyperswap", "simswap", "blendswap", "image-face-fusion"},
        "translate": {"hy-mt2-30b-a3b"},
    }  # fmt: skip
    models = {name: family.models.values() for name, family in FAMILIES.items()}
    without = {name: {m.name for m in rows if m.load is None} for name, rows in models.items()}
    assert {name: rows for name, rows in without.items() if rows} == named
    files = [path.name for path in (ROOT / "backends/engines").rglob("*.py")]
    assert not [n for n in files if any(n.startswith(x) for rows in named.values() for x in rows)]


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
