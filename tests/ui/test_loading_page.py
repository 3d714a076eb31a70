"""
A model fetched, loaded and used by clicks alone: a tiny checkpoint of a real architecture, from a
hub on loopback, in a real Chromium.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, LocatorAssertions, Page, expect

from backends.families import FAMILIES
from backends.identity import COOKIE
from backends.settings import Models, Rerank
from tests.hub import Hub, hub
from tests.ui.conftest import DESKTOP, PHONE, Opener, Visit
from tests.ui.site import Site, site

pytest.importorskip("torch", reason="Install what real models need: make models")
pytest.importorskip("modelscope_hub", reason="Install what real models need: make models")

NAME = "ms-marco-minilm-l6-v2"
TITLE = "ms-marco-MiniLM-L6-v2"
AGREED = "I have read its licence"
PASSWORD = "correct horse battery"
LARGE = ("model.safetensors",)
LATER = 60_000.0  # milliseconds in which a tiny model is surely read


@dataclass(frozen=True, slots=True)
class Scene:
    """A portal that may fetch; the hub sends the weights once `gate` is set."""

    site: Site
    hub: Hub
    gate: threading.Event

    @property
    def door(self) -> str:
        return f"/admin/?token={self.site.portal.identity.token}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    from tests.tiny.cross_encoder import build_bert

    folder = build_bert(tmp_path_factory.mktemp("tiny"))
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    files["model.safetensors"] = files.pop("model.safetensors")  # last: the rest is there then
    return files


@pytest.fixture
def scene(browser: Browser, tmp_path: Path, checkpoint: dict[str, bytes]) -> Iterator[Scene]:
    gate = threading.Event()
    with hub() as served:
        served.repos["cross-encoder/ms-marco-MiniLM-L6-v2"] = checkpoint
        served.faults.hold = lambda path, sent: _wait(gate) if path in LARGE else None
        models = Models(folder=tmp_path / "models", endpoint=served.url)
        families = {"rerank": FAMILIES["rerank"]}
        with site(tmp_path / "state", families, models=models, rerank=Rerank(model="bm25")) as own:
            yield Scene(own, served, gate)
            gate.set()


def _wait(gate: threading.Event) -> None:
    assert gate.wait(120), "the test never opened the gate"


def review(page: Page, title: str = TITLE, licence: str = "Licence: Apache-2.0.") -> None:
    choose(page, title, "Can be fetched from ModelScope")
    change = reviewed(page)
    change.to_contain_text(licence)
    change.to_contain_text("fetched from ModelScope first")


def choose(page: Page, title: str, files: str) -> None:
    page.wait_for_selector("#swap-about .chip")
    page.get_by_role("radio", name=title, exact=True).check()
    expect(page.locator("#swap-about")).to_contain_text(files, use_inner_text=True)


def reviewed(page: Page) -> LocatorAssertions:
    """What the review says, with a reason given."""
    page.click("#swap-review")
    change = page.locator("#swap-panel .q-change")
    expect(change).to_be_visible()
    page.fill("#swap-reason textarea", "it reads whole sentences")
    return expect(change)


OTHERS = "#rerank-model .q-others > summary"
ROW = f'.q-shelf li[data-model="{NAME}"]'


def test_a_model_is_fetched_loaded_and_used_by_clicks_alone(scene: Scene, visit: Opener) -> None:
    tab: Visit = visit(at=scene.site.url)
    line = tab.page.locator(ROW)
    expect(line).to_have_attribute("data-stands", "fetch")
    tab.page.click(OTHERS)
    line.locator("summary").click()
    expect(line).to_contain_text("45.4 MB at bf16")
    expect(line).to_contain_text("models/cross-encoder/ms-marco-MiniLM-L6-v2")

    admin = visit(scene.door, at=scene.site.url).page
    review(admin)
    admin.click("#swap-apply")
    expect(admin.locator("#swap-message")).to_contain_text("Confirm that you may use this model")
    assert scene.hub.asked == []  # nothing is fetched before somebody has agreed
    admin.get_by_label(AGREED).check()
    admin.click("#swap-apply")

    fleet = admin.locator("#q-overview .svc")
    expect(fleet).to_contain_text("beside the model that serves")
    expect(fleet.locator(".q-way")).to_contain_text("Fetched")
    expect(admin.locator("#q-stop")).to_be_visible()
    tab.page.reload()
    expect(tab.page.locator(f"{ROW}[data-stands=loading]")).to_contain_text("Fetched")
    scene.gate.set()

    done = expect(admin.locator("#swap-message"))
    done.to_contain_text(f"rerank now runs {NAME}, revision 1.", timeout=LATER)
    expect(tab.page.locator(ROW)).to_have_attribute("data-stands", "loaded")
    tab.page.click("#rerank-go")
    expect(tab.page.locator("#rerank-result")).to_contain_text(TITLE)
    whole = scene.hub.repos["cross-encoder/ms-marco-MiniLM-L6-v2"]["model.safetensors"]
    assert scene.hub.sent["model.safetensors"] == len(whole)


@contextmanager
def portal(folder: Path, family: str, repo: str, tiny: Path) -> Iterator[Site]:
    """A portal of one family, and a hub that has the tiny checkpoint as `repo`."""
    files = {path.name: path.read_bytes() for path in tiny.iterdir() if path.is_file()}
    with hub() as served:
        served.repos[repo] = files
        models = Models(folder=folder / "models", endpoint=served.url)
        with site(folder / "state", {family: FAMILIES[family]}, models=models) as own:
            yield own


def swap(own: Site, visit: Opener, title: str, licence: str) -> None:
    """By clicks, until the receipt is there."""
    admin = visit(f"/admin/?token={own.portal.identity.token}", at=own.url).page
    review(admin, title, licence)
    admin.get_by_label(AGREED).check()
    admin.click("#swap-apply")
    expect(admin.locator("#swap-message")).to_contain_text("now runs", timeout=LATER)


@pytest.mark.parametrize("model", ["HY-MT1.5 1.8B", "HY-MT1.5 7B", "Hy-MT2 1.8B"])
def test_what_a_licence_demands_stands_under_the_result(
    browser: Browser, visit: Opener, tmp_path: Path, model: str
) -> None:
    from tests.tiny.hymt import build

    series, size = model.split()
    tiny, is_bound = build(tmp_path / "tiny", size), series == "HY-MT1.5"
    with portal(tmp_path, "translate", f"Tencent-Hunyuan/{series}-{size}", tiny) as own:
        swap(own, visit, model, "not in the European Union" if is_bound else "Licence: Apache-2.0.")
        page = visit("/?tab=translate", at=own.url).page
        page.fill("#translate-text textarea", "Good.")
        page.click("#translate-go")
        told = expect(page.locator("#translate-told"))
        told.to_contain_text(f"{model}, revision 1", timeout=LATER)
        if is_bound:
            told.to_contain_text(f"Translated by a machine: {model}, under the Tencent")
            told.to_contain_text("Tencent does not endorse it")
        else:
            told.not_to_contain_text("Translated by a machine")


def test_a_fetched_cross_encoder_of_many_languages_ranks(
    browser: Browser, visit: Opener, tmp_path: Path
) -> None:
    from tests.tiny.cross_encoder import build_xlm_roberta

    tiny = build_xlm_roberta(tmp_path / "tiny")
    with portal(tmp_path, "rerank", "BAAI/bge-reranker-v2-m3", tiny) as own:
        swap(own, visit, "bge-reranker-v2-m3", "Licence: Apache-2.0.")
        page = visit("/?tab=rerank", at=own.url).page
        page.click("#rerank-go")
        ranking = page.locator("#rerank-result")
        expect(ranking).to_contain_text("bge-reranker-v2-m3, revision 1", timeout=LATER)
        expect(ranking.locator(".rk")).to_have_count(8)


def test_a_fetched_model_of_entailment_gives_probabilities_of_its_own(
    browser: Browser, visit: Opener, tmp_path: Path
) -> None:
    from tests.tiny.entailment import NAME as REPO
    from tests.tiny.entailment import build

    with portal(tmp_path, "entailment", REPO, build(tmp_path / "tiny")) as own:
        swap(own, visit, "OFA-large, SNLI-VE", "Licence: Apache-2.0.")
        page = visit("/?tab=entailment", at=own.url).page
        page.click("#entailment-go")
        expect(page.locator("#entailment-result")).to_contain_text("Maybe", timeout=LATER)
        expect(page.locator("#entailment-model")).to_contain_text("OFA-large, SNLI-VE on")


def test_a_download_is_stopped_by_a_click_and_the_old_model_serves(
    scene: Scene, visit: Opener
) -> None:
    admin = visit(scene.door, at=scene.site.url).page
    review(admin)
    admin.get_by_label(AGREED).check()
    admin.click("#swap-apply")
    expect(admin.locator("#q-overview .q-way")).to_contain_text("Fetched")
    admin.click("#q-stop")
    said = expect(admin.locator("#swap-message"))
    said.to_contain_text("stopped the download, and what was fetched of it is kept; bm25 still")
    said.to_contain_text("the record names bm25 again")
    expect(admin.locator("#q-stop")).to_be_hidden()


def test_a_hub_that_breaks_is_one_sentence_on_the_page(scene: Scene, visit: Opener) -> None:
    scene.hub.faults.lacking = {"model.safetensors"}
    scene.gate.set()
    admin = visit(scene.door, at=scene.site.url).page
    review(admin)
    admin.get_by_label(AGREED).check()
    admin.click("#swap-apply")
    expect(admin.locator("#swap-message")).to_contain_text(
        "ModelScope lists model.safetensors of cross-encoder/ms-marco-MiniLM-L6-v2 and does not "
        "have it; bm25 still serves."
    )


@pytest.mark.parametrize(
    ("size", "theme", "language"),
    [(DESKTOP, "light", "en"), (PHONE, "dark", "zh")],
)
def test_where_models_stand_is_readable_by_everyone(
    scene: Scene, visit: Opener, size: tuple[int, int], theme: str, language: str
) -> None:
    opened = visit(size=size, theme=theme, language=language, at=scene.site.url)
    opened.page.click(OTHERS)
    opened.page.locator(f"{ROW} summary").click()
    gradios = "Empty value"  # of a list of pictures that BM25 cannot take
    assert [line for line in opened.violations() if gradios not in line] == []
    assert not opened.scrolls_sideways()
    opened.picture(f"models-{theme}-{language}")


def test_who_may_not_stop_a_download_has_no_button_for_it(scene: Scene, visit: Opener) -> None:
    accounts = scene.site.portal.identity.accounts
    accounts.add("vera", PASSWORD, ["viewer"])
    accounts.add("sam", PASSWORD, ["viewer", "swapper"])
    sam, vera = (signed_in(scene.site, visit, name) for name in ("sam", "vera"))
    review(sam)
    sam.get_by_label(AGREED).check()
    sam.click("#swap-apply")
    for page in (sam, vera):
        expect(page.locator("#q-overview .q-way")).to_contain_text("Fetched")
    expect(sam.locator("#q-stop")).to_be_visible()
    expect(vera.locator("#q-stop")).to_be_hidden()
    sam.click("#q-stop")
    expect(sam.locator("#swap-message")).to_contain_text("sam stopped the download")


def signed_in(own: Site, visit: Opener, name: str) -> Page:
    """Admin, as this account."""
    form = {"name": name, "password": PASSWORD}
    answer = httpx.post(f"{own.url}/admin/sign-in", data=form, timeout=60)
    cookie = {"name": COOKIE, "value": answer.cookies[COOKIE], "domain": "127.0.0.1", "path": "/"}
    state = {"cookies": [cookie], "origins": []}
    return visit("/admin/", at=own.url, storage_state=state).page
