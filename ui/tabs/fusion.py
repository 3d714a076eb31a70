"""
Fusion: a face from one photo onto a face in another, as a job.

The screen and its handlers; what is drawn is in `fused`. The page asks for the job as any program
would: it is checked, recorded, watched, and belongs to this visitor alone.
"""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from backends.engines.fusion import Blend, Check, Look, Seen
from backends.engines.picture import Picture
from backends.errors import BadInput, Overloaded, Unavailable
from backends.identity import ANONYMOUS, Ask, Principal
from backends.jobs import Job, JobState
from backends.jobs.owners import COOKIE, bearer
from backends.portal import Portal
from backends.routes.jobs import stranger
from ui.draw import empty, hint, html, note
from ui.guard import QUIET, ask, guarded, principal, streamed, validator
from ui.tabs import examples
from ui.tabs.frame import CodeFold, chips, code_fold, draw_code
from ui.tabs.fused import draw_end, draw_faces, draw_pair, draw_progress, face_at
from ui.tabs.models import answered_by, draw_model, terms
from ui.tabs.pictures import photo, read_result, read_upload, upload
from ui.tabs.samples import fusion_samples
from ui.texts import both, label, refusal, say

if TYPE_CHECKING:
    from ui.shell import Page

NAME = "fusion"
ORDER = ("source", "target", "consent")
MOST_FACES = 64


@dataclass(frozen=True, slots=True)
class Side:
    """One picture and the face in it. `seen` keeps what was found, for clicks."""

    image: gr.Image
    found: gr.HTML
    face: gr.Radio
    seen: gr.State


@dataclass(frozen=True, slots=True)
class Parts:
    source: Side
    target: Side
    blend: gr.Slider
    shape: gr.Slider
    consent: gr.Checkbox
    go: gr.Button
    cancel: gr.Button
    tries: tuple[gr.Button, ...]
    result: gr.HTML
    model: gr.HTML
    fold: CodeFold
    job: gr.State  # (id, token) of the visitor's latest job


def build(portal: Portal, page: "Page") -> None:
    assert portal.jobs is not None, "a portal with fusion has jobs"
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="q-panel"):
            left = _inputs()
        with gr.Column(scale=7, min_width=320, elem_classes="q-panel"):
            parts = Parts(**left, **_outputs(portal))
    _run(portal, page, parts)
    _faces(portal, parts)
    _follow(portal, page, parts)


def _inputs() -> dict[str, Any]:
    first = examples.FUSION[0]
    tries = chips((each.key for each in examples.FUSION), "q-fill")
    with gr.Row():
        source = _side("source", first.source)
        target = _side("target", first.target)
    blend = gr.Slider(0, 1, 0.85, step=0.05, label=label("fusion.blend"))
    with gr.Accordion(label("shell.options"), open=False, elem_classes="q-fold"):
        shape = gr.Slider(0, 1, 0.35, step=0.05, label=label("fusion.shape"))
    consent = gr.Checkbox(False, label=label("fusion.consent"), elem_id="fusion-consent")
    with gr.Row():
        go = gr.Button(
            label("fusion.go"), variant="primary", elem_classes="q-go", elem_id="fusion-go", scale=3
        )
        cancel = gr.Button(
            label("fusion.cancel"),
            scale=1,
            min_width=90,
            interactive=False,
            elem_id="fusion-cancel",
        )
    html(hint())
    return {
        "source": source,
        "target": target,
        "blend": blend,
        "shape": shape,
        "consent": consent,
        "go": go,
        "cancel": cancel,
        "tries": tries,
    }


def _side(name: str, example: str) -> Side:
    with gr.Column(min_width=140):
        image = upload(
            value=photo(example),
            label=label(f"fusion.{name}"),
            height=220,
            sources=["upload", "clipboard"],
            elem_id=f"fusion-{name}",
        )
        found = html(elem_id=f"fusion-{name}-found", elem_classes="q-slot")
        face = gr.Radio(  # all that may come: a value is checked against these, not later ones
            [(str(n + 1), n) for n in range(MOST_FACES)],
            label=label("fusion.face"),
            visible=False,
            elem_id=f"fusion-{name}-face",
        )
    return Side(image, found, face, gr.State(Seen()))


def _outputs(portal: Portal) -> dict[str, Any]:
    nothing = empty(say("fusion.nothing_yet"), say("fusion.start", minutes=_minutes(portal)))
    result = html(nothing, elem_id="fusion-result", elem_classes="q-result")
    model = html(elem_id="fusion-model")
    fold = code_fold(NAME)
    return {
        "result": result,
        "model": model,
        "fold": fold,
        "job": gr.State(("", "")),
    }


def _run(portal: Portal, page: "Page", parts: Parts) -> None:
    """The button, and Cancel while it works."""
    family = portal.families[NAME]

    @guarded(portal)
    async def refresh() -> str:
        return draw_model(await portal.services[NAME].status(), family, portal.settings.models)

    @guarded(portal)
    async def cancel(job: tuple[str, str], request: gr.Request) -> Any:
        assert portal.jobs is not None
        if job[0]:
            await portal.jobs.cancel(job[0], _owner(portal, request, job[1]))
        return gr.update(interactive=False)

    end = parts.go.click(
        _runner(portal),
        [
            parts.source.image,
            parts.target.image,
            parts.consent,
            parts.source.face,
            parts.target.face,
            parts.blend,
            parts.shape,
            parts.fold.here,
        ],
        [parts.result, parts.cancel, parts.job],
        validator=check,
        api_visibility="private",
        concurrency_limit=None,  # jobs have a queue of their own, which refuses
        show_progress="hidden",
    )
    parts.cancel.click(cancel, parts.job, parts.cancel, **QUIET)
    end.then(refresh, None, parts.model, **QUIET).then(page.refresh, None, page.pill, **QUIET)
    gr.on(page.again, refresh, None, parts.model, **QUIET)


@validator((*ORDER, "source_face", "target_face", "blend", "shape", "here"))
def check(source: str | None, target: str | None, consent: bool, *_: Any) -> Iterator[BadInput]:
    return wrong(source, target, consent)


def wrong(source: str | None, target: str | None, consent: bool) -> Iterator[BadInput]:
    for name, given in zip(ORDER, (source, target, consent), strict=True):
        if not given:
            yield refusal(f"fusion.no_{name}", name)


def _runner(portal: Portal) -> Callable[..., AsyncIterator[tuple[Any, Any, Any]]]:
    jobs, limits = portal.jobs, portal.settings.limits
    assert jobs is not None

    def read(source: str, target: str, **chosen: Any) -> Blend:
        most = None  # at its own size: the result has it too
        return Blend(
            read_upload(source, "source", limits, most),
            read_upload(target, "target", limits, most),
            **chosen,
        )

    @streamed(portal, NAME)
    async def run(
        source: str | None,
        target: str | None,
        consent: bool,
        source_face: int | None,
        target_face: int | None,
        blend: float,
        shape: float,
        here: str,
        request: gr.Request,
    ) -> AsyncIterator[tuple[Any, Any, Any]]:
        for fault in wrong(source, target, consent):
            raise fault
        assert source
        assert target
        item = await asyncio.to_thread(
            read,
            source,
            target,
            source_face=source_face,
            target_face=target_face,
            blend=blend,
            shape=shape,
        )
        asked = _ask_as_owner(portal, request)
        await portal.services[NAME].predict((Check(item),), asked)
        began = time.perf_counter()
        job = await jobs.submit(item, asked)
        mine = (job.id, job.token)
        yield draw_progress(job), gr.update(interactive=True), mine
        owner = _owner(portal, request, job.token)
        async for job in jobs.watch(job.id, owner):  # noqa: B020  the job, as it goes on
            if not job.state.is_final:
                yield draw_progress(job), gr.skip(), gr.skip()
        shown = await _ended(portal, job, owner, item.target, time.perf_counter() - began, here)
        yield shown, gr.update(interactive=False), gr.skip()

    return run


async def _ended(
    portal: Portal, job: Job, owner: Principal, before: Picture, seconds: float, here: str
) -> str:
    if job.state is not JobState.DONE:
        return draw_end(job)
    assert portal.jobs is not None
    data = await portal.jobs.result(job.id, owner)
    after = await asyncio.to_thread(read_result, data)
    if owner.method == "cookie" or owner.roles:  # the browser proves by itself whose it is
        address = f"{here}v1/fusion/jobs/{job.id}/result"
    else:
        address = f"data:image/png;base64,{b64encode(data).decode()}"
    by = answered_by(portal.families[NAME].models[job.model].title, job.revision, job.pod)
    figures = say("fusion.done", model=by, milliseconds=round(seconds * 1e3))
    told = terms(portal.families[NAME], job.model)
    return await asyncio.to_thread(
        draw_pair, before, after, job, address, figures, _minutes(portal), told
    )


def _looker(portal: Portal) -> Callable[..., Any]:
    service, limits = portal.services[NAME], portal.settings.limits
    nothing = gr.update(visible=False, value=None)

    @guarded(portal)
    async def look(path: str | None, request: gr.Request) -> tuple[Any, Any, Seen]:
        if not path:
            return "", nothing, Seen()
        try:
            picture = await asyncio.to_thread(read_upload, path, "source", limits, None)
            answer = await service.predict((Look(picture),), ask(portal, request))
        except BadInput as fault:
            return note("bad", both(fault.text, fault.zh or fault.text)), nothing, Seen()
        except (Overloaded, Unavailable):  # busy or loading; the button looks again, and says so
            return "", nothing, Seen()
        seen: Seen = answer[0]
        choices = [(str(n + 1), n) for n in range(min(MOST_FACES, len(seen.faces)))]
        shown = gr.update(visible=len(seen.faces) > 1, choices=choices, value=None)
        return await asyncio.to_thread(draw_faces, seen, None), shown, seen

    return look


def _faces(portal: Portal, parts: Parts) -> None:
    """What is found in each picture, and choosing one of several by a click."""

    @guarded(portal)
    async def clicked(seen: Seen, event: gr.SelectData) -> tuple[Any, Any]:
        x, y = event.index if isinstance(event.index, list | tuple) else (-1, -1)
        chosen = face_at(seen, float(x), float(y))
        if chosen is None or len(seen.faces) < 2:
            return gr.skip(), gr.skip()
        return await asyncio.to_thread(draw_faces, seen, chosen), chosen

    @guarded(portal)
    async def chose(chosen: int | None, seen: Seen) -> str:
        return await asyncio.to_thread(draw_faces, seen, chosen)

    look = _looker(portal)
    for side in (parts.source, parts.target):
        state = [side.found, side.face, side.seen]
        side.image.change(look, side.image, state, **QUIET)
        side.image.select(clicked, side.seen, [side.found, side.face], **QUIET)
        side.face.input(chose, [side.face, side.seen], side.found, **QUIET)


def _follow(portal: Portal, page: "Page", parts: Parts) -> None:
    """Examples, and the code that follows the inputs."""

    @guarded(portal)
    async def code(blend: float, shape: float, here: str) -> tuple[str, str]:
        made = fusion_samples(here.rstrip("/"), blend, shape)
        told = note("info", say("fusion.code_pictures"))
        return told + draw_code(made.curl, made.python), here

    for button, each in zip(parts.tries, examples.FUSION, strict=True):
        filled = [parts.source.image, parts.target.image]
        button.click(lambda e=each: (photo(e.source), photo(e.target)), None, filled, **QUIET)
    coded = parts.fold.fill(code, [parts.blend, parts.shape])
    changes = [parts.blend.release, parts.shape.release]
    gr.on([page.blocks.load, *parts.fold.events(), *changes], **coded)


def _minutes(portal: Portal) -> int:
    return max(1, round(portal.settings.jobs.expiry_seconds / 60))


def _owner(portal: Portal, request: gr.Request, token: str = "") -> Principal:
    """Who signed in, else the visitor of the cookie, else who holds the job's token."""
    who = principal(portal, request)
    if who != ANONYMOUS:
        return who
    visitor = portal.visitors.read(request.cookies.get(COOKIE))
    return visitor or (bearer(token) if token else stranger(request))


def _ask_as_owner(portal: Portal, request: gr.Request) -> Ask:
    return replace(ask(portal, request), principal=_owner(portal, request))
