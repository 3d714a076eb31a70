"""`python app.py key …`: what it takes, and what it says."""

from pathlib import Path

import pytest

from app import parser
from backends.errors import BadInput, NotFound
from backends.identity import Keys
from backends.identity.commands import run_key_command, said


def ran(folder: Path, *words: str) -> None:
    run_key_command(parser().parse_args(["key", *words]), folder)


def test_making_says_what_was_made_and_shows_the_key_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(
        tmp_path, "make", "search box", "--tenant", "shop", "--scope", "rerank", "--scope",
        "translate", "--expires-days", "30", "--per-minute", "5", "--per-day", "100",
    )  # fmt: skip
    line, _, secret = capsys.readouterr().out.splitlines()
    key = Keys(tmp_path / "keys.json").find(secret)
    assert key is not None
    assert key.expires == key.created + 30 * 86_400
    assert line == said(key, key.created)
    assert line.startswith(f"{key.id}  active  search box  tenant shop  rerank, translate  made ")
    assert line.endswith("  5 a minute  100 a day")
    ran(tmp_path, "list")
    assert capsys.readouterr().out == f"{line}\n"


def test_a_key_that_has_ended_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = Keys(tmp_path / "keys.json")
    key, _ = keys.make("search", "shop", ["rerank"], expires_days=1)
    assert "  expired  " in said(key, key.created + 86_400)
    ran(tmp_path, "revoke", key.id)
    ran(tmp_path, "list")
    done, line = capsys.readouterr().out.splitlines()
    assert done == f"search ({key.id}) is refused from now on."
    assert line.startswith(f"{key.id}  revoked  search  ")


def test_what_cannot_be_done_is_an_error_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no key nope"):
        ran(tmp_path, "revoke", "nope")
    with pytest.raises(BadInput, match="tenant of those without a key"):
        ran(tmp_path, "make", "x", "--tenant", "anonymous", "--scope", "rerank")
    with pytest.raises(SystemExit):
        ran(tmp_path, "make", "x", "--tenant", "shop", "--scope", "everything")
