"""When `/healthz` asks for another process: a batch that never ends, memory that only grows."""

import threading
from dataclasses import replace
from pathlib import Path

from fastapi.testclient import TestClient

from app import build_service
from backends import settings
from backends.engines import Capabilities
from backends.serving import State, Status
from backends.serving.watchdog import Watchdog
from backends.settings import Settings
from tests import stubs
from tests.running import wait_until

CALM = Status("rerank", State.READY, "one", 1, Capabilities(), embedded=True, device="CPU")


def grown(*sizes: int) -> Watchdog:
    """A watchdog that reads these sizes, one a look."""
    reads = iter(sizes)
    return Watchdog(settings.Watchdog(growth_bytes=100), lambda: next(reads))


def test_a_batch_may_run_as_long_as_the_setting_says_and_no_longer() -> None:
    dog = Watchdog(settings.Watchdog(batch_seconds=60))
    assert dog.reason([CALM, replace(CALM, running_seconds=60)]) == ""
    assert dog.reason([CALM, replace(CALM, service="fusion", running_seconds=61)]) == (
        "A batch of fusion has run for 61 s, more than QUARTET_WATCHDOG__BATCH_SECONDS (60): the "
        "device hangs."
    )


def test_growth_counts_from_when_the_models_were_loaded() -> None:
    dog = grown(1000, 5000, 5100, 5101)
    assert dog.reason([replace(CALM, loading="two")]) == ""  # loading a model is no leak
    assert dog.reason([CALM]) == ""
    assert dog.reason([CALM]) == ""
    assert dog.reason([CALM]) == (
        "The process has grown by 101 B since its models were loaded, more than "
        "QUARTET_WATCHDOG__GROWTH_BYTES (100 B)."
    )


def test_another_model_is_another_beginning() -> None:
    dog = grown(1000, 9000, 9100)
    assert dog.reason([CALM]) == ""
    assert dog.reason([replace(CALM, revision=2)]) == ""
    assert dog.reason([replace(CALM, revision=2)]) == ""


def test_zero_never_barks() -> None:
    dog = Watchdog(settings.Watchdog(batch_seconds=0, growth_bytes=0), lambda: 10**15)
    assert dog.reason([replace(CALM, running_seconds=1e9)]) == ""
    assert dog.reason([]) == ""


def test_a_batch_that_hangs_ends_the_liveness_and_its_end_brings_it_back(tmp_path: Path) -> None:
    gate = threading.Event()
    gate.set()
    engine = stubs.Recorder(gate=gate)
    family = replace(stubs.family(stubs.model(engine)), name="rerank")
    given = Settings(state_dir=tmp_path, watchdog=settings.Watchdog(batch_seconds=1e-3))
    app, _ = build_service(given, "rerank", {"rerank": family})
    with TestClient(app) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "it never got ready")
        gate.clear()
        asked = threading.Thread(
            target=lambda: client.post("/v1/rerank", json={"query": "q", "documents": ["d"]})
        )
        asked.start()
        wait_until(lambda: client.get("/healthz").status_code == 503, "it never noticed")
        assert client.get("/health").json()["reason"].startswith("A batch of rerank has run for")
        gate.set()
        wait_until(lambda: client.get("/healthz").json() == {"status": "ok"}, "it never forgot")
        asked.join()


def test_readiness_and_metrics_tell_the_free_memory(tmp_path: Path) -> None:
    family = replace(stubs.family(stubs.model(stubs.Recorder())), name="rerank")
    app, _ = build_service(Settings(state_dir=tmp_path), "rerank", {"rerank": family})
    with TestClient(app) as client:
        told = client.get("/readyz").json()["memory_free_bytes"]
        assert told["host"] > 1_000_000
        assert 'quartet_memory_free_bytes{device="host"}' in client.get("/metrics").text
