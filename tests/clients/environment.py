"""
The clients' own environment: made once, when a test first wants it, and again when its
requirements change.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".venv-clients"
PYTHON = FOLDER / "bin" / "python"
REQUIREMENTS = [HERE / "requirements.txt", HERE / "constraints.txt"]
PATIENCE = 600.0  # seconds for an installation, or for all calls of one client


def ensure() -> Path:
    """The environment's Python. Skips the test that asks, with a sentence, if it cannot be made."""
    stamp = FOLDER / "stamp"
    texts = [path.read_text(encoding="utf-8") for path in REQUIREMENTS]
    wanted = hashlib.sha256("\0".join([sys.version, *texts]).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        _make()
        stamp.write_text(wanted, encoding="utf-8")
    return PYTHON


def _make() -> None:
    requirements, constraints = map(str, REQUIREMENTS)
    for step in (
        ["venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER)],
        [
            "pip",
            "install",
            "--quiet",
            "--python",
            str(PYTHON),
            "-r",
            requirements,
            "-c",
            constraints,
        ],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "uv", *step], capture_output=True, text=True, timeout=PATIENCE
        )
        if done.returncode:
            pytest.skip(
                "The environment of other programs' clients, .venv-clients, could not be made; "
                f"it needs uv and a package index: {done.stderr.strip()[-300:]}"
            )


def calls(client: str, *given: str) -> dict[str, Any]:
    """What became of each of the client's calls in `calls.py`, by name; `given` are its words."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(ensure()), str(HERE / "calls.py"), client, *given],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**kept, **offline, "NO_PROXY": "*"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers
