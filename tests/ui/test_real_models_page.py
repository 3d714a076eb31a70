"""
Lychee and inswapper as a person meets them: loaded by clicks, then used for all that they can do.

Lychee comes from a hub on loopback, inswapper from a folder that the person fills. Both are tiny,
of the real architectures.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from backends.families import FAMILIES
from backends.settings import Models
from tests.hub import Hub, hub
from tests.ui.conftest import DESKTOP, PHONE, Opener
from tests.ui.site import Site, site
from tests.ui.test_loading_page import LATER, choose, portal, reviewed

pytest.importorskip("torch", reason="Install what real models need: make models")
pytest.importorskip("modelscope_hub", reason="Install what real models need: make models")

PHOTOS = Path(__file__).parents[1] / "photos"
OURS = Path(__file__).parents[2] / "ui" / "photos"
PICTURES_BEFORE_TITLES = (
    "(rows) => rows.every((row) => row.querySelector('.media').getBoundingClientRect().right"
    " <= row.querySelector('.body').getBoundingClientRect().left)"
)
LYCHEE = "Lychee-Rerank-MM"
INSWAPPER = "inswapper 128"


# ---- Lychee


def fetched(own: Site, visit: Opener, zh: bool, **look: object) -> None:
    """Lychee by clicks, from the review to the receipt, in either language."""
    admin = visit(f"/admin/?token={own.portal.identity.token}", at=own.url, **look).page
    choose(admin, LYCHEE, "可从 ModelScope 下载" if zh else "Can be fetched from ModelScope")
    change = reviewed(admin)
    for text in (
        ("许可证：Apache-2.0。", "bf16 下占用 16.6 GB", "将先从 ModelScope 下载", "以图片作为查询")
        if zh
        else ("Licence: Apache-2.0.", "16.6 GB of memory at bf16", "fetched from ModelScope first")
    ):
        change.to_contain_text(text, use_inner_text=True)
    admin.check("#swap-agreed input")
    admin.click("#swap-apply")
    now = "现在运行 lychee-rerank-mm" if zh else "rerank now runs lychee-rerank-mm"
    expect(admin.locator("#swap-message")).to_contain_text(now, timeout=LATER, use_inner_text=True)


def scores(page: Page) -> list[str]:
    return page.locator("#rerank-result .rk .num").all_inner_texts()


def ranked(page: Page, count: int, before: list[str]) -> list[str]:
    """The scores of a run whose scores are others than those before."""
    page.click("#rerank-go")
    page.wait_for_function(
        "([count, before]) => { const now = [...document.querySelectorAll("
        "'#rerank-result .rk .num')].map((one) => one.innerText);"
        " return now.length === count && now.join() !== before; }",
        arg=[count, ",".join(before)],
    )
    expect(page.locator("#rerank-result .q-sum")).to_contain_text(LYCHEE)
    return scores(page)


@pytest.mark.parametrize(
    ("size", "theme", "language"),
    [(DESKTOP, "light", "en"), (PHONE, "dark", "zh")],
    ids=["desktop-en", "phone-zh"],
)
def test_lychee_ranks_texts_and_pictures_for_texts_and_pictures(
    browser: Browser,
    visit: Opener,
    tmp_path: Path,
    size: tuple[int, int],
    theme: str,
    language: str,
) -> None:
    from tests.tiny import lychee

    look = {"size": size, "theme": theme, "language": language}
    tiny = lychee.build(tmp_path / "tiny")
    with portal(tmp_path, "rerank", lychee.SOURCE, tiny) as own:
        fetched(own, visit, language == "zh", **look)
        opened = visit("/?tab=rerank", at=own.url, **look)
        page = opened.page
        told = page.locator('.q-shelf li[data-model="lychee-rerank-mm"]')
        expect(told).to_have_attribute("data-stands", "loaded")
        options = "选项" if language == "zh" else "Options"
        page.locator("#tab-rerank button.label-wrap", has_text=options).click()
        expect(page.locator("#rerank-query-picture input[type=file]")).to_have_count(1)
        page.wait_for_timeout(500)  # what is typed while a fold opens is lost
        page.fill("#rerank-query textarea", "a red square")
        page.fill("#rerank-documents textarea", "a picture of a square\nGrain prices fell.")

        texts = ranked(page, 2, [])  # text and text
        page.fill("#rerank-instruction textarea", "Find what has nothing to do with the query")
        instructed = ranked(page, 2, texts)
        names = [PHOTOS / "chelsea.png", PHOTOS / "coffee.png"]
        page.set_input_files("#rerank-pictures input[type=file]", names)
        expect(page.locator("#rerank-pictures img")).to_have_count(2)
        with_pictures = ranked(page, 4, instructed)  # text and picture
        page.set_input_files("#rerank-query-picture input[type=file]", PHOTOS / "rocket.jpg")
        page.wait_for_selector("#rerank-query-picture img")
        both = ranked(page, 4, with_pictures)  # text with a picture, and either
        page.fill("#rerank-query textarea", "")
        pictured = ranked(page, 4, both)  # picture and text, picture and picture
        assert len(set(pictured)) > 1
        shown = page.locator("#rerank-result .rk img")
        assert {one.get_attribute("alt") for one in shown.all()} == {path.name for path in names}
        assert page.locator("#rerank-result .rk").evaluate_all(PICTURES_BEFORE_TITLES)
        assert not opened.scrolls_sideways()
        opened.picture(f"lychee-{theme}-{language}")


# ---- inswapper


@contextmanager
def empty_folder(tmp_path: Path) -> Iterator[tuple[Site, Hub]]:
    """A portal of fusion that could fetch, from a hub that writes down what it is asked."""
    with hub() as served:
        models = Models(folder=tmp_path / "models", endpoint=served.url)
        families = {"fusion": FAMILIES["fusion"]}
        with site(tmp_path / "state", families, models=models) as own:
            yield own, served


def fill(folder: Path) -> None:
    """What the person puts there: networks that know the portraits of the page and the sample."""
    from backends.engines import fusion
    from backends.engines.pictures import read_picture
    from tests.portraits import face_of
    from tests.tiny import onnx_faces

    sample = fusion.sample()[0]
    known = [read_picture((OURS / name).read_bytes()) for name in ("hopper.jpg", "astronaut.jpg")]
    faces = []
    for picture in (*known, sample.source, sample.target):
        face = face_of(picture.array())
        faces.append(onnx_faces.Planted(picture.array(), face.box, face.five))
    onnx_faces.build(folder, faces)


@pytest.mark.parametrize(
    ("size", "language"), [(DESKTOP, "en"), (PHONE, "zh")], ids=["desktop-en", "phone-zh"]
)
def test_inswapper_is_loaded_from_files_that_the_person_supplies_and_says_what_it_may_be_used_for(
    browser: Browser, visit: Opener, tmp_path: Path, size: tuple[int, int], language: str
) -> None:
    pytest.importorskip("onnx", reason="Install what real models need: make models")
    zh, folder = language == "zh", tmp_path / "models" / "insightface" / "inswapper_128"
    look = {"size": size, "language": language}
    with empty_folder(tmp_path) as (own, served):
        tab = visit("/?tab=fusion", at=own.url, **look)
        line = tab.page.locator('.q-shelf li[data-model="inswapper"]')
        expect(line).to_have_attribute("data-stands", "files")
        tab.page.click("#fusion-model .q-others > summary")
        line.locator("summary").click()
        expect(line).to_contain_text("models/insightface/inswapper_128", use_inner_text=True)

        admin = visit(f"/admin/?token={own.portal.identity.token}", at=own.url, **look).page
        choose(admin, INSWAPPER, "models/insightface/inswapper_128")
        lacks = (
            "目前无法加载：请先将 det_10g.onnx" if zh else "cannot be loaded yet: put det_10g.onnx"
        )
        reviewed(admin).to_contain_text(lacks, use_inner_text=True)
        admin.click("#swap-cancel")
        expect(admin.locator("#swap-panel")).to_be_hidden()

        fill(folder)
        change = reviewed(admin)
        for path in folder.iterdir():
            change.to_contain_text(f"sha256 {sha256(path.read_bytes()).hexdigest()}")
        wider = "(box) => box.scrollWidth > box.clientWidth"  # a hash has no spaces
        assert not admin.locator("#swap-panel .q-change").evaluate(wider)
        change.to_contain_text("仅限非商业研究" if zh else "non-commercial research only")
        assert own.do(lambda portal: portal.services["fusion"].status()).model == "mesh-blend"
        admin.check("#swap-agreed input")
        admin.click("#swap-apply")
        done = expect(admin.locator("#swap-message"))
        now = "fusion 现在运行 inswapper" if zh else "fusion now runs inswapper"
        done.to_contain_text(now, timeout=LATER, use_inner_text=True)

        tab.reload()
        expect(line).to_have_attribute("data-stands", "loaded")
        tab.page.check("#fusion-consent input")
        tab.page.click("#fusion-go")
        tab.page.wait_for_selector("#fusion-result .q-pair", timeout=LATER)
        under = expect(tab.page.locator("#fusion-result .q-pair ~ .q-note").last)
        bound = "仅限用于非商业研究" if zh else "weights are for non-commercial research only"
        under.to_contain_text(bound, use_inner_text=True)
        expect(tab.page.locator("#fusion-result .q-sum")).to_contain_text(INSWAPPER)
        assert not tab.scrolls_sideways()
        assert [rule for rule in tab.violations() if "fusion-result" in rule] == []
        tab.picture(f"inswapper-{language}")
        assert served.asked == []  # nothing was ever fetched
