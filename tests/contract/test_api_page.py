"""Every curl of the pages is run against a real server; its answer has the shape that is shown."""

import json
import re
import shutil
import subprocess
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
VARY = ("id", "request_id", "secret", "memory_free_bytes")

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="Install Debian's package curl."
)


def examples(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def run(command: str, address: str, **env: str) -> str:
    done = subprocess.run(
        ["sh", "-c", command.replace("curl ", "curl --silent --show-error --max-time 60 ", 1)
         .replace(SHOWN, address)],
        cwd=ROOT, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "TOKEN": "secret", **env},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def shape(value: Any) -> Any:
    """Keys and types, and every value that a reader could check."""
    if isinstance(value, dict):
        return {k: "varies" if k in VARY else shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value]
    return type(value) if isinstance(value, float) else value


def test_every_example_of_the_api_page_answers_as_shown(tmp_path: Path) -> None:
    asked = [each for each in examples("docs/api.md") if ADMIN not in each[0]]
    assert len(asked) == 14
    token = {"QUARTET_INTERNAL__TOKEN": "secret"}
    with Process("--port", "0", state_dir=tmp_path, env=token) as quartet:
        address = quartet.ready().address
        for command, answer in asked:
            said = run(command, address)
            if answer:
                shown, told = json.loads(answer), json.loads(said)
                if "services" in shown:  # one stands for all
                    told["services"] = {k: told["services"][k] for k in shown["services"]}
                assert shape(told) == shape(shown), command
            elif "/jobs" in command:
                assert json.loads(said)["state"] == "waiting"
            else:
                assert "# TYPE quartet_requests_total counter" in said
        assert quartet.process.wait(60) == 0  # the last example was the drain


def test_every_example_of_admin_answers_as_shown_to_a_key_with_every_admin_scope(
    tmp_path: Path,
) -> None:
    asked = [each for each in examples("docs/api.md") if ADMIN in each[0]]
    keys = Keys(tmp_path / "keys.json")
    _, secret = keys.make("robot", "default", [scope for scope in SCOPES if scope != "translate"])
    old, _ = keys.make("old", "default", ["rerank"])
    (send,) = [command for command, _ in examples("docs/api.md") if "v1/fusion/jobs" in command]
    send = f'{send.strip()} -H "authorization: Bearer {secret}"'
    with Process("--port", "0", state_dir=tmp_path) as quartet:
        address = quartet.ready().address
        env = {"KEY": secret, "ID": old.id}
        env["JOB"] = json.loads(run(send, address))["id"]
        for command, answer in asked:
            said = run(command, address, **env)
            if answer:
                assert shape(json.loads(said)) == shape(json.loads(answer)), command
            else:
                assert "error_type" not in said or "jobs" in command, (command, said)
        assert keys.all()[old.id].revoked


def test_every_route_of_admin_has_an_example_and_a_line_of_the_table() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    asked = set()
    for command, _ in examples("docs/api.md"):
        if (found := re.search(r"7860(/v1/admin/[^ '?]*)", command)) is not None:
            method = re.search(r"-X (\w+)", command)
            posts = "POST" if " -d " in command else "GET"
            path = re.sub(r"\$\w+|(?<=services/)rerank|bob|(?<=figures/)p95", "X", found[1])
            asked.add(f"{method[1] if method else posts} {path}")
    rows = re.findall(r"^\| `(\w+ /v1/admin/\S+)` \|", page, re.MULTILINE)
    assert {re.sub(r"\b[A-Z]{2,}\b(?!\s)", "X", row) for row in rows} == asked
    assert len(rows) == len([route for route in TABLE if ADMIN in route])


def test_the_example_of_the_readme_finds_the_answer(tmp_path: Path) -> None:
    ((command, _),) = examples("README.md")
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path) as quartet:
        said = json.loads(run(command, quartet.ready().address))
    assert said["results"][0]["index"] == 1
