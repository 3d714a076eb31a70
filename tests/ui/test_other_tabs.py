"""Entail, Fuse and Translate as a visitor meets them, and pictures on the Rerank tab."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from backends.engines import Emit, fusion
from backends.families import FAMILIES, Family
from tests import portraits
from tests.running import wait_until
from tests.stubs import Recorder, model
from tests.ui.conftest import DESKTOP, PHONE, Opener, Visit
from tests.ui.site import Site, site
from ui.tabs import examples
from ui.texts import TEXTS

PHOTOS = Path(__file__).parents[1] / "photos"
# Gradio's own, of places for pictures: no name on their buttons and inputs
BASELINE = ("button-name", "label", "nested-interactive", "aria-", "image-redundant-alt", "list")


def check_statements(page: Page) -> None:
    page.click("#entailment-go")
    page.wait_for_selector("#entailment-result .vd")
    labels = page.locator("#entailment-result .vd").evaluate_all("e => e.map(x => x.dataset.label)")
    assert labels == ["yes", "no", "no", "maybe"]
    expect(page.locator("#entailment-result .vd-why").first).to_contain_text("cat")


def fuse(page: Page) -> None:
    page.check("#fusion-consent input")
    page.click("#fusion-go")
    page.wait_for_selector("#fusion-result .q-pair")
    slider = page.locator("#fusion-result .q-pair input")
    slider.fill("80")
    assert page.locator(".q-pair").evaluate("e => e.style.getPropertyValue('--at')") == "80%"


def translate(page: Page) -> None:
    page.click("#translate-go")
    result = page.locator("#translate-result textarea")
    expect(result).to_have_value(re.compile("casamento"))
    page.wait_for_selector("#translate-told .q-sum")


RUNS: dict[str, Callable[[Page], None]] = {
    "entailment": check_statements,
    "fusion": fuse,
    "translate": translate,
}


def own(violations: list[str]) -> list[str]:
    mine = [line for line in violations if not line.startswith(BASELINE)]
    small = ("icon-button", "upload-container")  # Gradio's, in its places for pictures
    return [line for line in mine if not any(name in line for name in small)]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize(("theme", "language"), [("light", "en"), ("dark", "zh")])
@pytest.mark.parametrize("tab", RUNS)
def test_the_example_is_one_click_from_its_answer(
    visit: Opener, tab: str, theme: str, language: str, size: tuple[int, int]
) -> None:
    seen = visit(f"/?tab={tab}", size=size, theme=theme, language=language)
    page = seen.page
    page.wait_for_selector(f"#{tab}-model .q-model-top")
    RUNS[tab](page)
    seen.picture(f"{tab}-{'desktop' if size == DESKTOP else 'phone'}-{theme}-{language}")
    assert not seen.scrolls_sideways()
    assert re.findall(r"\bq\.[a-z]+\.\w+", page.inner_text("body")) == []
    assert own(seen.violations()) == []


def opened(visit: Opener, tab: str) -> Visit:
    seen = visit(f"/?tab={tab}")
    seen.page.wait_for_selector(f"#{tab}-model .q-model-top")
    return seen


# ---- pictures


def test_texts_and_pictures_are_ranked_in_one_list(visit: Opener) -> None:
    seen = opened(visit, "rerank")
    page = seen.page
    page.get_by_role("button", name="Pictures", exact=True).click()
    page.wait_for_selector("#rerank-result .q-with-pictures")
    first = page.locator("#rerank-result .rk").first
    expect(first).to_contain_text("coffee")
    assert first.locator("img").get_attribute("src").startswith("data:image/webp")
    assert page.locator("#rerank-result .rk").count() == 6
    seen.picture("rerank-pictures")
    assert own(seen.violations()) == []


def test_pictures_of_ones_own_are_ranked(visit: Opener) -> None:
    page = opened(visit, "rerank").page
    page.fill("#rerank-query textarea", "a cat")
    names = [str(PHOTOS / name) for name in ("brick.png", "chelsea.png")]
    page.set_input_files("#rerank-pictures input[type=file]", names)
    page.wait_for_selector("#rerank-pictures img")
    page.click("#rerank-go")
    page.wait_for_selector("#rerank-result .q-with-pictures")
    expect(page.locator("#rerank-result .rk").first).to_contain_text("chelsea.png")


def test_a_picture_as_query_is_off_and_says_who_takes_one(visit: Opener) -> None:
    page = opened(visit, "rerank").page
    page.locator("#tab-rerank button.label-wrap", has_text="Options").click()
    expect(page.locator("#rerank-query-picture-note")).to_contain_text(
        "Lychee-Rerank-MM can take one"
    )
    assert page.locator("#rerank-query-picture input[type=file]").count() == 0


def test_a_file_that_is_no_picture_is_one_sentence(visit: Opener, tmp_path: Path) -> None:
    false = tmp_path / "cat.png"
    false.write_text("not a picture")
    seen = opened(visit, "entailment")
    page = seen.page
    page.get_by_role("button", name=TEXTS["entailment.example_coffee"][0]).click()
    page.wait_for_selector("#entailment-result .vd")
    page.locator("#entailment-image button[aria-label]").first.click()
    page.set_input_files("#entailment-image input[type=file]", false)
    page.wait_for_selector("#entailment-image img")
    page.click("#entailment-go")
    toast = page.locator(".toast-body").first
    expect(toast).to_contain_text("This file is not a picture that can be read")
    seen.wrong[:] = []  # the browser, too, cannot show it


# ---- entailment


def test_what_is_missing_is_said_on_its_field(visit: Opener) -> None:
    seen = opened(visit, "entailment")
    page = seen.page
    page.fill("#entailment-statements textarea", " \n ")
    page.click("#entailment-go")
    expect(page.locator("#entailment-statements")).to_contain_text("Write at least one statement")
    seen.forgive_refused()


def test_hostile_statements_stay_text(visit: Opener) -> None:
    page = opened(visit, "entailment").page
    hostile = "<script>alert(1)</script> ${1+1} {{x}}"
    page.fill("#entailment-statements textarea", hostile)
    page.click("#entailment-go")
    expect(page.locator("#entailment-result .vd strong")).to_have_text(hostile)


# ---- fusion


def test_without_consent_nothing_is_done(visit: Opener) -> None:
    seen = opened(visit, "fusion")
    page = seen.page
    page.click("#fusion-go")
    expect(page.locator("#tab-fusion")).to_contain_text("Confirm that everyone pictured has agreed")
    assert page.locator("#fusion-result .q-pair").count() == 0
    page.check("#fusion-consent input", timeout=5000)  # the refusal does not lie over it
    seen.forgive_refused()


def test_one_of_several_faces_is_chosen_by_a_click(visit: Opener, tmp_path: Path) -> None:
    group = tmp_path / "group.png"
    Image.fromarray(portraits.group()).save(group)
    seen = opened(visit, "fusion")
    page = seen.page
    page.locator("#fusion-target button[aria-label]").first.click()
    page.set_input_files("#fusion-target input[type=file]", group)
    expect(page.locator("#fusion-target-found")).to_contain_text("6 faces were found")
    page.check("#fusion-consent input")
    page.click("#fusion-go")
    expect(page.locator(".toast-body").first).to_contain_text("shows 6 faces; choose one")
    page.locator("#fusion-target-face label", has_text="5").click()
    expect(page.locator("#fusion-target-found .chosen")).to_contain_text("Face 5")
    with Image.open(group) as picture:
        click_in_picture(page, "#fusion-target img", picture.size, (225, 120))
    expect(page.locator("#fusion-target-found .chosen")).to_contain_text("Face 3")
    page.click("#fusion-go")
    page.wait_for_selector("#fusion-result .q-pair")
    seen.picture("fusion-group")


def click_in_picture(page: Page, selector: str, size: tuple[int, int], at: tuple[int, int]) -> None:
    """At a pixel of the picture, which stands in the middle of its place."""
    box = page.locator(selector).first.bounding_box()
    assert box is not None
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left = box["x"] + (box["width"] - size[0] * scale) / 2
    top = box["y"] + (box["height"] - size[1] * scale) / 2
    page.mouse.click(left + at[0] * scale, top + at[1] * scale)


class Patient(Recorder):
    """Works on a blend until its caller leaves."""

    def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
        if batch and isinstance(batch[0], fusion.Blend):
            while emit(0, fusion.Progress(0.4, "fusing")):
                time.sleep(0.02)
            self.closed_by_caller = True
            return [None]
        return [fusion.Seen() for _ in batch]


def test_a_job_is_watched_and_cancelled(visit: Opener, tmp_path: Path) -> None:
    engine = Patient("mesh-blend")
    whole = FAMILIES["fusion"]
    models = {"mesh-blend": model(engine, "mesh-blend")}
    slow = Family(whole.name, whole.title, whole.item, models, lambda: (), whole.default)
    with site(tmp_path, {**FAMILIES, "fusion": slow}) as own_site:
        seen = visit("/?tab=fusion", at=own_site.url)
        page = seen.page
        expect(page.locator("#fusion-cancel")).to_be_disabled()
        page.check("#fusion-consent input")
        page.click("#fusion-go")
        working = page.locator("#fusion-result .q-progress[data-state=running]")
        expect(working).to_contain_text("Fusing")
        assert "40" in (working.locator(".bar i").get_attribute("style") or "")
        seen.picture("fusion-running")
        page.click("#fusion-cancel")
        expect(page.locator("#fusion-result")).to_contain_text("Cancelled. Nothing was kept.")
        expect(page.locator("#fusion-cancel")).to_be_disabled()
        wait_until(lambda: getattr(engine, "closed_by_caller", False), "the engine worked on")


def test_the_picture_is_downloaded_by_its_owner_alone(visit: Opener, portal_site: Site) -> None:
    page = opened(visit, "fusion").page
    fuse(page)
    link = page.locator("#fusion-result a[download]").get_attribute("href")
    assert link is not None
    mine = page.request.get(link)
    assert mine.status == 200
    assert mine.body().startswith(b"\x89PNG")
    other = opened(visit, "fusion").page
    assert other.request.get(link).status == 404


# ---- translation


def test_sides_swap_with_their_text(visit: Opener) -> None:
    page = opened(visit, "translate").page
    translate(page)
    translated = page.locator("#translate-result textarea").input_value()
    page.click("#translate-swap")
    expect(page.locator("#translate-text textarea")).to_have_value(translated)
    expect(page.locator("#translate-source input")).to_have_value("Portuguese")
    page.click("#translate-go")
    expect(page.locator("#translate-result textarea")).to_have_value(re.compile("grandmother"))


def test_a_language_out_of_reach_is_greyed_and_says_what_brings_it(visit: Opener) -> None:
    seen = opened(visit, "translate")
    page = seen.page
    page.click("#translate-target input")
    grey = page.locator("#translate-target li", has_text="Chinese · needs another model").first
    known = page.locator("#translate-target li", has_text=re.compile(r"^\W*Portuguese$")).first
    colour = "e => getComputedStyle(e).color"
    assert grey.evaluate(colour) != known.evaluate(colour)
    grey.click()
    expect(page.locator("#translate-told")).to_contain_text("Chinese needs HY-MT1.5 or Hy-MT2.")


def test_readers_of_chinese_are_told_first(visit: Opener) -> None:
    seen = visit("/?tab=translate", language="zh")
    expect(seen.page.locator("#translate-chinese")).to_contain_text("中文需要 HY-MT1.5 或 Hy-MT2")
    seen = opened(visit, "translate")
    expect(seen.page.locator("#translate-chinese .q-note")).to_be_hidden()


def test_the_source_is_found_out_and_named(visit: Opener) -> None:
    page = opened(visit, "translate").page
    page.get_by_role("button", name=TEXTS[examples.TRANSLATE[1].key][0]).click()
    expect(page.locator("#translate-told")).to_contain_text("found: Portuguese")
    expect(page.locator("#translate-result textarea")).to_have_value(re.compile("quartet"))


# ---- the code to copy


@pytest.mark.parametrize("tab", RUNS)
@pytest.mark.parametrize("language", ["curl", "python"])
def test_the_code_works_when_it_is_pasted(
    visit: Opener, tab: str, language: str, tmp_path: Path
) -> None:
    page = opened(visit, tab).page
    page.locator(f"#tab-{tab} button.label-wrap", has_text="Call this from code").click()
    code = page.locator(f"#{tab}-code [data-code={language}] code")
    expect(code).to_contain_text(f"/v1/{tab}")
    (tmp_path / "photo.jpg").write_bytes((PHOTOS / "chelsea.png").read_bytes())
    (tmp_path / "source.jpg").write_bytes((PHOTOS / "hopper.jpg").read_bytes())
    (tmp_path / "target.jpg").write_bytes((PHOTOS / "astronaut.png").read_bytes())
    command = ["sh", "-c"] if language == "curl" else [sys.executable, "-c"]
    done = subprocess.run(
        [*command, code.inner_text()], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    if tab == "fusion":
        assert (tmp_path / "fused.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert {"entailment": "yes", "translate": "casamento"}[tab] in done.stdout
