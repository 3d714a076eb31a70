"""What an event may bring along: files that were uploaded, and nothing else."""

from pathlib import Path

import pytest
from gradio.utils import get_upload_folder

from ui.intake import named_files, was_uploaded


def test_every_file_that_a_value_names_is_found_however_deep() -> None:
    value = ["a", {"path": "/one"}, [{"value": {"image": {"path": "/two", "url": "x"}}}], None, 5]
    assert sorted(named_files(value)) == ["/one", "/two"]


def test_a_value_that_nests_without_end_is_still_read() -> None:
    deep: object = {"path": "/bottom"}
    for _ in range(5000):
        deep = [deep]
    assert list(named_files(deep)) == ["/bottom"]


def test_an_uploaded_file_may_pass() -> None:
    assert was_uploaded(f"{get_upload_folder()}/0123abcd/notes.txt")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "notes.txt",
        "",
        "https://example.org/notes.txt",
        f"{get_upload_folder()}/../secret.txt",
        f"{get_upload_folder()}-elsewhere/notes.txt",
    ],
)
def test_any_other_path_or_address_is_foreign(path: str) -> None:
    assert not was_uploaded(path)


def test_a_link_out_of_the_uploads_is_foreign(tmp_path: Path) -> None:
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link = folder / f"link-{tmp_path.name}.txt"
    link.symlink_to(secret)
    try:
        assert not was_uploaded(str(link))
    finally:
        link.unlink()
