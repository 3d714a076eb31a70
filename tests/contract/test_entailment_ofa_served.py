"""OFA behind its service: over HTTP with a premise, swapped for the embedded engine and back."""

import asyncio
import gc
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import build_service  # first: how many threads torch may use is settled there
from backends.engines.entailment import LABELS, Claim
from backends.errors import ModelLoadError
from backends.families import FAMILIES
from backends.identity import Ask
from backends.serving import State
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Entailment, Models, Settings
from backends.telemetry import Instruments
from tests import running

torch = pytest.importorskip("torch", reason="torch is missing: make models")

from backends.engines.entailment.ofa_network import Network  # noqa: E402
from tests.tiny import entailment as tiny  # noqa: E402

OFA, EMBEDDED = "ofa-large-snli-ve", "objects-and-faces"
STATEMENT, PREMISE = "an animal is on furniture", "A cat is on the sofa"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.build(folder)
    return folder


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("state"),
        models=Models(folder=models),
        entailment=Entailment(model=OFA),
    )
    app, _ = build_service(settings, "entailment")
    with running.in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def picture(seed: int) -> str:
    file = BytesIO()
    tiny.noise(seed).image().save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def check(client: httpx.Client, *statements: str, **more: Any) -> dict[str, Any]:
    body = {"image": picture(3), "statements": list(statements), **more}
    answer = client.post("/v1/entailment", json=body)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def test_the_route_hands_the_premise_to_the_model(client: httpx.Client) -> None:
    """The figure of the golden set: exchanged, it would be maybe."""
    answer = check(client, STATEMENT, premise=PREMISE)
    (result,) = answer["results"]
    assert answer["model"] == OFA
    assert not answer["warnings"]
    assert (result["label"], result["measured"], result["evidence"]) == ("no", False, [])
    assert result["probabilities"]["no"] == pytest.approx(0.459652, abs=1e-4)
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    (without,) = check(client, STATEMENT)["results"]
    assert without["probabilities"] != pytest.approx(result["probabilities"], abs=0.01)


def test_twenty_statements_get_what_each_gets_alone(client: httpx.Client) -> None:
    statements = [f"there are {n} birds " + "and a cat " * (n % 5) for n in range(20)]
    together = check(client, *statements)["results"]
    for statement, one in zip(statements, together, strict=True):
        (alone,) = check(client, statement)["results"]
        assert alone["label"] == one["label"]
        assert alone["probabilities"] == pytest.approx(one["probabilities"], abs=1e-5)


def test_another_language_is_answered_with_a_warning(client: httpx.Client) -> None:
    (result,) = check(client, "有一只猫。")["results"]
    (note,) = result["evidence"]
    assert note.startswith("This model was trained on English")


def test_ofas_own_words_are_answered_by_ofa(client: httpx.Client) -> None:
    ours = check(client, STATEMENT)["results"][0]
    answer = client.post("/predict", json={"image": picture(3), "text": STATEMENT}).json()
    assert answer["result"] == ours["label"]
    assert answer["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-6)
    assert answer["confidence"] == max(answer["probabilities"].values())


def test_a_statement_without_words_is_the_callers_to_mend(client: httpx.Client) -> None:
    body = {"image": picture(3), "statements": ["yes", "!!!"]}
    answer = client.post("/v1/entailment", json=body)
    assert answer.status_code == 422
    assert "A statement is empty" in answer.json()["error"]


def networks() -> int:
    gc.collect()
    return sum(type(each) is Network for each in gc.get_objects())


async def ready(service: LocalService) -> None:
    for _ in range(6000):
        if (await service.status()).state is not State.LOADING:
            break
        await asyncio.sleep(0.01)
    assert (await service.status()).is_ready, (await service.status()).reason


async def test_it_is_swapped_in_and_out_without_a_trace(models: Path, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, models=Models(folder=models))
    records = Records(tmp_path)
    service = LocalService(FAMILIES["entailment"], settings, Instruments(), records, 60.0)
    before = networks()
    claims = [Claim(tiny.noise(3), STATEMENT, PREMISE)]
    await service.start()
    await ready(service)
    for revision in (1, 3):
        assert (await service.status()).model == EMBEDDED
        await service.swap(ModelRecord(revision, OFA))
        status = await service.status()
        assert (status.model, status.embedded, status.device) == (OFA, False, "CPU")
        assert status.capabilities.premise
        assert networks() == before + 1
        (verdict,) = await service.predict(claims, Ask())
        assert LABELS[verdict.probabilities.index(max(verdict.probabilities))] == "no"
        await service.swap(ModelRecord(revision + 1, EMBEDDED))
        for _ in range(1000):  # it closes aside, and a thread's last frame may hold it a moment
            if networks() == before:
                break
            await asyncio.sleep(0.02)
        assert networks() == before
        (verdict,) = await service.predict(claims, Ask())
        assert verdict.measured
    await service.close()


async def test_a_checkpoint_that_does_not_fit_leaves_the_old_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    gone = "encoder.layers.1.fc2.bias"
    tiny.build(models, change=lambda state: {k: v for k, v in state.items() if k != gone})
    settings = Settings(state_dir=tmp_path, models=Models(folder=models))
    records = Records(tmp_path)
    service = LocalService(FAMILIES["entailment"], settings, Instruments(), records, 60.0)
    await service.start()
    await ready(service)
    sentence = f"the checkpoint lacks {gone}; {EMBEDDED} still serves"
    with pytest.raises(ModelLoadError, match=sentence):
        await service.swap(ModelRecord(1, OFA))
    assert (await service.status()).model == EMBEDDED
    await service.close()
