"""Nothing in the tree that does not belong to the project."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = re.compile(
    "|".join(
        [
            r"/(work|farm|tmp)/[a-z]",  # paths of one machine
            r"\bpypi\.org|pythonhosted|deb\.debian|npmjs\.(org|com)",  # hosts of indexes
            r"\b[T]ODO\b|\b[F]IXME\b|\b[X]XX\b|\b[H]ACK\b",
            r"NotImplemented[E]rror",
            r"\bsub[a]gent|\bissue [#]\d",
            r"\.\./[s]hared",
        ]
    )
)
ALLOWED = {
    "benchmarks/bare_machine.sh": r"/tmp/",  # inside its own root folder
    ".ci/run": r"\.\./[s]hared",
}


def tracked() -> list[str]:
    try:
        done = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("The list of files comes from git: install git and run in a clone.")
    return [name for name in done.stdout.splitlines() if name != "tests/repo/test_tree.py"]


def test_no_file_names_a_machine_an_index_or_unfinished_work() -> None:
    found = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if (match := FORBIDDEN.search(line)) and not re.search(
                ALLOWED.get(name, r"(?!)"), line
            ):
                found.append(f"{name}:{number}: {match.group()}")
    assert not found


def test_no_module_takes_a_name_that_says_nothing() -> None:
    banned = {"utils.py", "util.py", "helpers.py", "common.py", "base.py", "types.py", "core.py"}
    assert not [name for name in tracked() if name.rpartition("/")[2] in banned]


def test_weights_and_other_assets_come_with_their_notice() -> None:
    folders = {name.rpartition("/")[0] for name in tracked() if "/assets/" in name}
    assert not [folder for folder in folders if not (ROOT / folder / "NOTICE.md").exists()]


def test_every_module_says_what_it_is() -> None:
    modules = [name for name in tracked() if re.match(r"(app\.py|(ui|backends)/.*\.py)$", name)]
    texts = {name: (ROOT / name).read_text(encoding="utf-8").lstrip() for name in modules}
    assert not [name for name, text in texts.items() if text and not text.startswith('"""')]
