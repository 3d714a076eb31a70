"""
How a fusion job is drawn: progress, the two pictures under one slider, the way to the file. Pure.

Pictures stand in the page as data URIs: the page's cache of files is shared by all who know a
path, and what is in it outlives a job.
"""

from base64 import b64encode
from html import escape
from io import BytesIO

from backends.engines.fusion import Seen
from backends.engines.picture import Picture
from backends.jobs import Job, JobState
from ui.draw import bar, note
from ui.texts import both, plain, say

SIDE = 1024  # pixels of a picture's longer side in the page; the file has them all
STAGES = ("checking", "finding", "fusing")


def draw_progress(job: Job) -> str:
    """A job that has not ended."""
    if job.state is JobState.WAITING:
        told = say("fusion.waiting", position=job.position)
    else:
        told = say(f"fusion.{job.stage}" if job.stage in STAGES else "fusion.running")
    return (
        f'<div class="q-progress" role="status" data-state="{job.state.value}">'
        f"<span>{told}</span>{bar(job.progress)}</div>"
    )


def draw_end(job: Job) -> str:
    """A job that ended without a picture."""
    if job.state is JobState.CANCELLED:
        return note("info", say("fusion.cancelled"))
    return note("bad", both(job.error, job.error_zh or job.error))


def draw_pair(
    before: Picture,
    after: Picture,
    job: Job,
    address: str,
    figures: str,
    minutes: int,
    terms: str = "",
) -> str:
    """Both under a slider; `address` is where the file is, `figures` and `terms` are HTML."""
    notes = "".join(note("mid", both(*said)) for said in job.notes)
    slide = escape(plain("fusion.slide"))
    return (
        f'<div class="q-sum"><span>{figures}</span><a class="q-btn" download href='
        f'"{escape(address)}">{say("fusion.download")}</a></div>'
        f'<div class="q-pair" data-job="{escape(job.id)}">'
        f'<img class="before" alt="{escape(plain("fusion.before"))}" src="{_uri(before)}">'
        f'<img class="after" alt="{escape(plain("fusion.after"))}" src="{_uri(after)}">'
        f'<span class="edge" aria-hidden="true"></span>'
        f'<input type="range" min="0" max="100" value="30" aria-label="{slide}"></div>'
        f'<p class="q-pair-words"><span>{say("fusion.before")}</span>'
        f"<span>{say('fusion.after')}</span></p>{notes}"
        f"{note('info', say('fusion.marked', minutes=minutes))}{terms}"
    )


def draw_faces(seen: Seen, chosen: int | None) -> str:
    """What was found in a picture, each with its thumbnail and what speaks against it."""
    if not seen.faces:
        return note("mid", say("fusion.no_face"))
    if len(seen.faces) == 1 and seen.faces[0].why_not is None:
        return ""
    parts = []
    for face in seen.faces:
        mark = " chosen" if face.index == chosen else ""
        why = f"<em>{both(face.why_not.en, face.why_not.zh)}</em>" if face.why_not else ""
        parts.append(
            f'<li class="face{mark}"><img alt="" src="{_uri(face.thumbnail)}">'
            f"<span>{say('fusion.face_number', number=face.index + 1)}{why}</span></li>"
        )
    head = say("fusion.faces", count=len(seen.faces)) if len(seen.faces) > 1 else ""
    return f'<div class="q-note info q-faces">{head}<ul>{"".join(parts)}</ul></div>'


def face_at(seen: Seen, x: float, y: float) -> int | None:
    """The face under a click, in pixels of the picture; the smallest, where boxes overlap."""
    hit = [
        face
        for face in seen.faces
        if 0 <= x - face.box[0] <= face.box[2] and 0 <= y - face.box[1] <= face.box[3]
    ]
    return min(hit, key=lambda face: face.box[2] * face.box[3]).index if hit else None


def _uri(picture: Picture) -> str:
    image = picture.image()
    image.thumbnail((SIDE, SIDE))
    file = BytesIO()
    image.save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"
