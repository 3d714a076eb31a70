"""Where a checkpoint lies, and what is said when it, or a library, is missing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

from backends.engines import weights
from backends.errors import ModelLoadError
from backends.settings import Models


def test_a_checkpoint_is_the_folder_below_its_name_on_its_hub(tmp_path: Path) -> None:
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    (folder / "model-00001-of-00002.safetensors").touch()
    files = ("config.json", "*.safetensors")
    assert weights.find("owner/name", files, Models(folder=tmp_path)) == folder


def test_missing_files_are_named_with_where_to_put_them(tmp_path: Path) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "config.json").touch()
    with pytest.raises(ModelLoadError) as said:
        weights.find("owner/name", ("config.json", "vocab.json", "*.bin"), Models(folder=tmp_path))
    assert said.value.text == f"put vocab.json, *.bin of owner/name into {tmp_path}/owner/name"


def test_a_missing_library_becomes_the_command_that_brings_it() -> None:
    expected = "the library nosuch is missing; `make models`"
    with pytest.raises(ModelLoadError, match=expected), weights.libraries():
        import_module("nosuch.part")


SEEN = threading.Event()
GO_ON = threading.Event()


def test_two_engines_import_a_library_that_puts_another_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As transformers does; two services load at once when the portal starts."""
    (tmp_path / "replaced.py").write_text(
        "import sys, types\n"
        f"from {__name__} import GO_ON, SEEN\n"
        "SEEN.set()\n"
        "GO_ON.wait(30)\n"
        "sys.modules[__name__] = types.SimpleNamespace(part=1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def part() -> int:
        with weights.libraries():
            return int(__import__("replaced").part)  # as the statement does it

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(part)
        assert SEEN.wait(30)
        second = threads.submit(part)
        threading.Timer(0.3, GO_ON.set).start()  # the second has long asked by then
        assert (first.result(30), second.result(30)) == (1, 1)
