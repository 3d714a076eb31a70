"""Services, their models, a swap, the figures."""

import asyncio
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from backends.engines import Model
from backends.errors import NotFound
from backends.identity import Role
from backends.ops.cluster import Ref, Workload
from backends.ops.swap import Receipt, with_files
from backends.portal import Portal
from backends.routes.admin import shapes
from backends.routes.admin.desk import allow, answer, number, read

FIGURES = ("rps", "p95", "errors", "waiting")
_HOUR = 60


class Fleet:
    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    async def services(self, request: Request) -> Response:
        """How each service is: state, model, revision, and its figures of the last minute."""
        allow(request, Role.VIEWER)
        reading = await self._portal.cluster.workloads()
        now = {name: await self._now(name) for name in FIGURES}
        services = [
            _service(each, shapes.Figures(**{n: now[n].get(each.ref.name) for n in FIGURES}))
            for each in reading.value
        ]
        warnings = list(reading.warnings)
        return answer(shapes.Services(at=reading.at, services=services, warnings=warnings))

    async def models(self, request: Request) -> Response:
        """The models that each service's family has, loadable or not."""
        allow(request, Role.VIEWER)
        found = {
            each.ref.name: [
                _model(model, each)
                for model in self._portal.families[each.ref.name].models.values()
            ]
            for each in (await self._portal.cluster.workloads()).value
        }
        return answer(shapes.Models(models=found))

    async def plan(self, request: Request, service: str) -> Response:
        """What a swap to that model would do. Changes nothing."""
        allow(request, Role.SWAPPER)
        asked = await read(request, shapes.PlanRequest)
        ref = await self._ref(service)
        bare = await self._portal.swaps.plan(ref, asked.model)
        workload = await self._portal.swaps.find(ref)
        groups = self._portal.families, self._portal.settings.models
        plan = await asyncio.to_thread(with_files, bare, workload, *groups)
        return answer(
            shapes.Plan(
                service=service,
                model=plan.model,
                before=plan.before.model,
                seen=plan.before.revision,
                terms=plan.terms,
                consequences=[english for english, _ in plan.consequences],
            )
        )

    async def swap(self, request: Request, service: str) -> Response:
        """Swap; answered when the new model serves, or the old one again, and `undone` says why."""
        who = allow(request, Role.SWAPPER)
        asked = await read(request, shapes.SwapRequest)
        ref = await self._ref(service)
        plan = await self._portal.swaps.plan(ref, asked.model, seen=asked.seen)
        receipt = await self._portal.swaps.apply(
            plan, reason=asked.reason, who=who, agreed=asked.agreed
        )
        return _receipt(receipt)

    async def stop(self, request: Request, service: str) -> Response:
        """End a download; the swap that waits for it is undone."""
        who = allow(request, Role.SWAPPER)
        workload = await self._portal.swaps.find(await self._ref(service))
        if workload.loading:
            await self._portal.swaps.stop(workload.ref, who=who)
        return answer(shapes.Stopped(service=service, stopped=workload.loading))

    async def undo(self, request: Request, service: str) -> Response:
        """Go back to the model before that revision."""
        who = allow(request, Role.SWAPPER)
        asked = await read(request, shapes.UndoRequest)
        ref = await self._ref(service)
        return _receipt(await self._portal.swaps.undo(ref, seen=asked.seen, who=who))

    async def figures(self, request: Request, name: str) -> Response:
        """A figure of every service over the last minutes: rps, p95, errors or waiting."""
        allow(request, Role.VIEWER)
        reading = await self._portal.metrics.series(name, number(request, "minutes", 15, _HOUR))
        series = [
            shapes.Curve(service=dict(line.labels)["service"], points=list(line.points))
            for line in reading.value
        ]
        return answer(
            shapes.Curves(name=name, at=reading.at, series=series, warnings=list(reading.warnings))
        )

    async def _ref(self, service: str) -> Ref:
        for workload in (await self._portal.cluster.workloads()).value:
            if workload.ref.name == service:
                return workload.ref
        raise NotFound(f"There is no service {service[:80]!r}.")

    async def _now(self, name: str) -> dict[str, float]:
        """The figure of each service as it is now; of no service that has none now."""
        reading = await self._portal.metrics.series(name, 1)
        last = {dict(line.labels)["service"]: line.points[-1:] for line in reading.value}
        return {s: point[0][1] for s, point in last.items() if point and point[0][0] >= reading.at}


def _service(workload: Workload, figures: shapes.Figures) -> shapes.Service:
    serving = next((pod for pod in workload.pods if pod.model), None)
    return shapes.Service(
        name=workload.ref.name,
        state=next((pod.phase for pod in workload.pods), "Pending"),
        model=serving.model if serving else "",
        revision=serving.revision if serving else workload.record.revision,
        record=workload.record.model,
        previous=workload.record.previous,
        wanted=workload.wanted,
        ready=workload.ready,
        in_flight=workload.in_flight,
        loading=workload.loading,
        progress=shapes.Progress(**asdict(workload.progress)),
        reason=next((pod.reason for pod in workload.pods if pod.reason), ""),
        figures=figures,
    )


def _model(model: Model, workload: Workload) -> shapes.Model:
    return shapes.Model(
        name=model.name,
        title=model.title,
        about=model.about[0],
        limits=model.limits[0],
        licence=model.licence,
        source=model.source,
        territory=model.territory,
        notice=model.notice[0],
        device=model.device,
        loads=model.load is not None,
        runs=model.name == workload.record.model,
    )


def _receipt(receipt: Receipt) -> Response:
    return answer(
        shapes.Receipt(
            service=receipt.ref.name,
            asked=receipt.asked,
            model=receipt.after.model,
            revision=receipt.after.revision,
            undone=receipt.undone,
            seconds=round(receipt.seconds, 3),
            answered=receipt.answered,
            failed=receipt.failed,
        )
    )
