"""
A swap: another model for a service, reviewed, written, converged to, and undone if it fails.

`review` is pure: what would change, in sentences. `Swaps` carries a plan out, step by step:
intent in the audit, the record (the truth changes first), the roll, the outcome. A model that
cannot be loaded puts the old one's name back into the record. Every swap ends in a receipt.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from backends import settings
from backends.engines import Capabilities, Model, weights
from backends.engines.download import hub_of
from backends.engines.hub import amount
from backends.errors import BadInput, Conflict, ModelLoadError, NotFound, QuartetError, Unavailable
from backends.families import Family
from backends.identity import Principal, Role
from backends.ops.audit import Audit
from backends.ops.changes import Change, Changes
from backends.ops.cluster import Cluster, Ref, Workload
from backends.ops.figures import Counts, read_counts
from backends.serving.record import ModelRecord
from backends.telemetry import Instruments

Sentence = tuple[str, str]
"""English, Chinese."""

_ABILITIES: dict[str, Sentence] = {
    "instruction": ("following an instruction", "按指令排序"),
    "picture_query": ("a picture as the query", "以图片作为查询"),
    "picture_documents": ("pictures as documents", "以图片作为文档"),
    "streaming": ("answers that stream", "流式输出"),
    "premise": ("a premise of its own", "自定义前提"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """
    A reviewed swap. `before` is the record that the person saw; it must still stand. `terms`: the
    model is somebody else's checkpoint, so who swaps to it must say that they may use it here.
    """

    ref: Ref
    before: ModelRecord
    model: str
    consequences: tuple[Sentence, ...]
    terms: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    How a swap ended. `after` is the record that stands now; `undone` says why it names the old
    model again, or is "". `answered` and `failed` count the service's requests meanwhile.
    """

    ref: Ref
    before: ModelRecord
    after: ModelRecord
    asked: str
    undone: str
    reason: str
    seconds: float
    answered: int
    failed: int
    undone_zh: str = ""


def review(workload: Workload, model: str, families: Mapping[str, Family]) -> Plan:
    """What swapping the workload to the model would do. Raises BadInput or Conflict."""
    name = workload.ref.name
    models = families[name].models
    if model not in models:
        raise BadInput(
            f"{name} has no model called {model}.",
            zh=f"{name} 没有名为 {model} 的模型。",
            field="model",
        )
    new, old = models[model], models.get(workload.record.model)
    if workload.loading:
        raise Conflict(
            f"{name} is loading {workload.loading} now. Wait for it, then review.",
            zh=f"{name} 正在加载 {workload.loading}，请等待完成后再查看。",
        )
    if new is old and _runs(workload):
        raise BadInput(
            f"{name} already runs {model}.", zh=f"{name} 已在运行 {model}。", field="model"
        )
    if new.load is None:
        raise BadInput(
            f"This version knows {model} and cannot load it.",
            zh=f"本版本认识 {model}，但还不能加载它。",
            field="model",
        )
    consequences = (*_consequences(name, old, new), *_terms(new, dict(workload.fetches)))
    return Plan(workload.ref, workload.record, model, consequences, terms=_has_terms(new))


def with_files(
    plan: Plan, workload: Workload, families: Mapping[str, Family], group: settings.Models
) -> Plan:
    """
    The plan with what is told of files that the user must supply: what each is, or where it is
    to be put. Reads them whole, so ask in a thread.
    """
    model = families[plan.ref.name].models[plan.model]
    if workload.elsewhere or not model.files or hub_of(model, group):
        return plan
    try:
        told = tuple(_of_files(model, group))
    except OSError:  # taken away meanwhile; the load will say so
        return plan
    return replace(plan, consequences=(*plan.consequences, *told))


def _of_files(model: Model, group: settings.Models) -> Iterator[Sentence]:
    folder = group.folder / model.source
    if lacking := weights.missing(folder, model.files):
        yield (
            f"It cannot be loaded yet: put {', '.join(lacking)} into {folder} first.",
            f"目前无法加载：请先将 {'、'.join(lacking)} 放入 {folder}。",
        )
    elif model.told is not None:
        yield from model.told(folder)


def previous(workload: Workload, families: Mapping[str, Family]) -> Plan:
    """The plan that goes back to the model before this one. Raises BadInput without one."""
    if not workload.record.previous:
        raise BadInput(
            f"{workload.ref.name} has no earlier model to go back to.",
            zh=f"{workload.ref.name} 没有可以恢复的先前模型。",
        )
    return review(workload, workload.record.previous, families)


class Swaps:
    """Carries plans out. A swap goes on when the page that asked for it leaves."""

    def __init__(
        self,
        cluster: Cluster,
        audit: Audit,
        instruments: Instruments,
        families: Mapping[str, Family],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._changes = Changes(audit)
        self._registry = instruments.registry
        self._families = families
        self._clock = clock

    async def apply(
        self, plan: Plan, *, reason: str, who: Principal, agreed: bool = False
    ) -> Receipt:
        """
        Raises BadInput without a reason, or where terms were not agreed to, Conflict when the
        record moved since the review, and Unavailable when the audit cannot be written; then
        nothing is changed. A model that cannot be loaded is no error here: the receipt says that
        it was undone, and why.
        """
        if not reason.strip():
            raise BadInput(
                "Give a reason; it is kept in the audit.",
                zh="请填写原因，它会保存在审计记录中。",
                field="reason",
            )
        if plan.terms and not agreed:
            raise BadInput(
                f"Confirm that you have read the licence and territory of {plan.model}, and may "
                "use it here.",
                zh=f"请确认您已阅读 {plan.model} 的许可证与适用地区，并有权在此使用。",
                field="agreed",
            )
        return await self._changes.make(
            Change(
                who,
                Role.SWAPPER,
                f"{plan.ref.context}/{plan.ref.name}",
                f"{plan.before.model}, revision {plan.before.revision}",
                f"{plan.model}, revision {plan.before.revision + 1}",
                reason,
            ),
            lambda: self._carry_out(plan, reason, who),
            lambda receipt: f"undone: {receipt.undone}" if receipt.undone else "done",
        )

    async def undo(self, ref: Ref, *, seen: int, who: Principal) -> Receipt:
        """Go back to the model before revision `seen`; Conflict if that no longer stands."""
        workload = await self.find(ref)
        _must_stand(workload, seen)
        plan = previous(workload, self._families)
        reason = f"Undo of revision {seen}"
        return await self.apply(plan, reason=reason, who=who, agreed=True)  # it ran here before

    async def stop(self, ref: Ref, *, who: Principal) -> None:
        """End a download; the swap that waits for it puts the old model's name back."""
        await self._cluster.stop_loading(ref, f"{who.subject} stopped the download")

    async def plan(self, ref: Ref, model: str, *, seen: int | None = None) -> Plan:
        """`review` of what is there now; Conflict if that is no longer revision `seen`."""
        workload = await self.find(ref)
        if seen is not None:
            _must_stand(workload, seen)
        return review(workload, model, self._families)

    async def find(self, ref: Ref) -> Workload:
        """The workload as it is now. Raises NotFound."""
        for workload in (await self._cluster.workloads()).value:
            if workload.ref == ref:
                return workload
        raise NotFound(f"There is no service {ref.name}.", zh=f"没有名为 {ref.name} 的服务。")

    async def close(self) -> None:
        """Stop what runs and write down that it was interrupted; before the audit is closed."""
        await self._changes.close()

    async def _carry_out(self, plan: Plan, reason: str, who: Principal) -> Receipt:
        begun, counts = self._clock(), self._counts(plan.ref)
        record = _next(plan.before, plan.model, plan.before.model, who)
        await self._cluster.write_record(plan.ref, record, seen=plan.before.revision)
        undone, undone_zh = "", ""
        try:
            await self._cluster.roll(plan.ref, record.revision)
        except Conflict:
            raise  # another record was written meanwhile: it stands
        except QuartetError as error:
            undone, undone_zh = _in_full(error)
            record = await self._put_back(plan, record, who, undone)
        now = self._counts(plan.ref)
        return Receipt(
            plan.ref,
            plan.before,
            record,
            asked=plan.model,
            undone=undone,
            reason=reason,
            seconds=self._clock() - begun,
            answered=int(now.requests - counts.requests),
            failed=int(now.errors - counts.errors),
            undone_zh=undone_zh,
        )

    async def _put_back(
        self, plan: Plan, record: ModelRecord, who: Principal, why: str
    ) -> ModelRecord:
        """The record names the old model again, and what that one would have gone back to."""
        back = _next(record, plan.before.model, plan.before.previous, who)
        try:
            await self._cluster.write_record(plan.ref, back, seen=record.revision)
            await self._cluster.roll(plan.ref, back.revision)
        except QuartetError as error:
            raise Unavailable(
                f"{why} Going back to {plan.before.model} failed too: {error.text}"
            ) from error
        return back

    def _counts(self, ref: Ref) -> Counts:
        return read_counts(self._registry).get(ref.name, Counts())


def _must_stand(workload: Workload, seen: int) -> None:
    name, record = workload.ref.name, workload.record
    if record.revision != seen:
        raise Conflict(
            f"{name} was changed meanwhile: now {record.model}, revision {record.revision}. "
            "Review again.",
            zh=f"{name} 已被更改：现在是 {record.model}，修订 {record.revision}。请重新查看。",
        )


def _in_full(error: QuartetError) -> Sentence:
    """What an operator may know: a library's own words too."""
    detail = error.detail if isinstance(error, ModelLoadError) else ""
    return f"{error.text} {detail}".strip(), f"{error.zh or error.text} {detail}".strip()


def _next(now: ModelRecord, model: str, earlier: str, who: Principal) -> ModelRecord:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return ModelRecord(
        now.revision + 1, model, way="in-pod", previous=earlier, by=who.subject, when=when
    )


def _runs(workload: Workload) -> bool:
    """Whether every pod is ready with the record's model; if not, the same model is a retry."""
    return workload.ready == workload.wanted and all(
        pod.model == workload.record.model for pod in workload.pods
    )


def _consequences(name: str, old: Model | None, new: Model) -> Iterator[Sentence]:
    before = old.title if old else "what runs now"
    before_zh = old.title if old else "当前模型"
    yield (
        f"{new.title} ({new.about[0]}) is loaded beside {before}, then takes over {name}. "
        "Requests in flight are answered by the model that they started with.",
        f"{new.title}（{new.about[1]}）会与 {before_zh} 同时加载，然后接管 {name}。"
        "正在处理的请求仍由最初的模型回答。",
    )
    yield (
        f"If it cannot be loaded, {before} goes on serving and the record names it again.",
        f"如果无法加载，{before_zh} 会继续服务，记录也会恢复。",
    )
    if new.limits[0]:
        yield new.limits
    yield from _abilities(old.capabilities if old else Capabilities(), new.capabilities)
    yield (
        "Answers change: what was tuned to one model, such as a minimum score, may not fit "
        "the other.",
        "结果会变化：针对一个模型调整的设置（例如最低得分）不一定适合另一个。",
    )
    yield (
        "The choice is kept in the state folder and survives a restart.",
        "此选择保存在状态文件夹中，重启后仍然有效。",
    )


def _has_terms(model: Model) -> bool:
    """Somebody else's checkpoint, here or on the server that is asked for it."""
    return bool(model.files) or model.terms_with_results


def _terms(new: Model, fetches: Mapping[str, str]) -> Iterator[Sentence]:
    """Licence, territory, notice, memory, and whether it is fetched first: of a checkpoint."""
    if not _has_terms(new):
        return
    is_bound = new.territory != "worldwide"
    where, where_zh = (f"; {new.territory}", f"；{new.territory_zh}") if is_bound else ("", "")
    yield (
        f"Licence: {new.licence}{where}.",
        f"许可证：{new.licence_zh or new.licence}{where_zh}。",
    )
    if new.notice[0]:
        yield new.notice
    if new.parameters:
        size, full = amount(2 * new.parameters), amount(4 * new.parameters)
        yield (
            f"Its weights take {size} of memory at bf16, {full} at float32 as on a CPU (computed), "
            "beside those of the old model until the exchange.",
            f"权重在 bf16 下占用 {size} 内存，在 float32（CPU）下占用 {full}（按参数量计算），"
            "切换前与旧模型同时占用。",
        )
    if new.name in fetches:
        hub = fetches[new.name]
        yield (
            f"Its files are not here: they are fetched from {hub} first, which may take long.",
            f"本机没有其文件：将先从 {hub} 下载，可能需要较长时间。",
        )


def _abilities(old: Capabilities, new: Capabilities) -> Iterator[Sentence]:
    """What is lost, then what is gained."""
    for verb, verb_zh, has, lacks in (("Lost", "失去", old, new), ("Gained", "新增", new, old)):
        found = [
            words
            for key, words in _ABILITIES.items()
            if getattr(has, key) and not getattr(lacks, key)
        ]
        languages = sorted(set(has.languages) - set(lacks.languages))
        if languages:
            listed = ", ".join(languages)
            found.append((f"languages {listed}", f"语言 {listed}"))
        if found:
            english = "; ".join(words[0] for words in found)
            yield (f"{verb}: {english}.", f"{verb_zh}：{'；'.join(w[1] for w in found)}。")
