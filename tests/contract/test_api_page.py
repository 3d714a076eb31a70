"""Every curl of the pages is run against a real server; its answer has the shape that is shown."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.running import Process

ROOT = Path(__file__).parents[2]
SHOWN = "http://127.0.0.1:7860"
VARIES = ("id", "request_id", "memory_free_bytes")
BLOCK = re.compile(r"```bash\n(curl .*?)```(?:\n+```json\n(.*?)```)?", re.DOTALL)

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="Install Debian's package curl."
)


def examples(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def run(command: str, address: str) -> str:
    done = subprocess.run(
        ["sh", "-c", command.replace("curl ", "curl --silent --show-error --max-time 60 ", 1)
         .replace(SHOWN, address)],
        cwd=ROOT, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "TOKEN": "secret"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def shape(value: Any) -> Any:
    """Keys and types, and every value that a reader could check."""
    if isinstance(value, dict):
        return {k: "varies" if k in VARIES else shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value]
    return type(value) if isinstance(value, float) else value


def test_every_example_of_the_api_page_answers_as_shown(tmp_path: Path) -> None:
    asked = examples("docs/api.md")
    assert len(asked) == 13
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


def test_the_example_of_the_readme_finds_the_answer(tmp_path: Path) -> None:
    ((command, _),) = examples("README.md")
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path) as quartet:
        said = json.loads(run(command, quartet.ready().address))
    assert said["results"][0]["index"] == 1
