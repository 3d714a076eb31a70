"""
torch's own number type is the whole process's, and transformers changes it while it reads a
checkpoint in 16 bits: as a swap does beside a model that is answering. Answers do not depend on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is missing: make models")

from app import build_service  # noqa: E402  first: how many threads torch may use is settled there
from backends.engines import Engine  # noqa: E402
from backends.engines.picture import Picture  # noqa: E402
from backends.engines.rerank import Illustrated, Pair  # noqa: E402
from backends.settings import Models, Settings  # noqa: E402
from tests.tiny.rows import build, rows  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

assert build_service


@contextmanager
def taken_by_itself(dtype: Any) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def loaded(name: str, models: Path) -> Engine[Any, Any]:
    load = rows()[name][1].load
    assert load is not None
    return load(Settings(models=Models(folder=models, device="cpu")))


def items(name: str) -> tuple[Any, ...]:
    """The family's sample; a model that looks at pictures is shown some, on either side."""
    family, model = rows()[name]
    if not model.capabilities.picture_query:
        return family.sample()
    red, blue = (Picture(56, 84, bytes(colour) * 56 * 84) for colour in ((200, 0, 0), (0, 0, 200)))
    texts = ("a red square", "grain prices fell")
    return (
        *family.sample(),
        *(Pair(red, text, texts) for text in texts),
        Pair("a red square", Illustrated("blue", blue), ("blue",)),
    )


ONE_OF_EACH = {model.architecture: name for name, (_, model) in rows().items()}
del ONE_OF_EACH["onnx"]  # not torch's


@pytest.mark.parametrize("name", ONE_OF_EACH.values())
def test_answers_do_not_depend_on_the_number_type_that_another_load_sets(
    name: str, tmp_path: Path
) -> None:
    build(name, tmp_path)
    asked = items(name)
    calm, disturbed = loaded(name, tmp_path), loaded(name, tmp_path)
    truth = calm.run(asked, lambda index, part: True)
    with taken_by_itself(torch.bfloat16):
        assert disturbed.run(asked, lambda index, part: True) == truth
        made = loaded(name, tmp_path)
    assert made.run(asked, lambda index, part: True) == truth
    for engine in (calm, disturbed, made):
        engine.close()


def test_far_places_of_a_text_are_the_same_in_any_number_type() -> None:
    """Beyond what a short question reaches."""
    from backends.engines.entailment.ofa_network import token_buckets

    wanted = token_buckets(256, 600)
    with taken_by_itself(torch.bfloat16):
        assert torch.equal(token_buckets(256, 600), wanted)
