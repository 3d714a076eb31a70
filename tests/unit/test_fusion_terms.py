"""What a licence wants said with a changed face is in every answer that has room for it."""

from dataclasses import replace

import pytest

from backends.engines.fusion import MODELS, Finished
from backends.families import FAMILIES
from backends.jobs import Job, JobState
from backends.routes.jobs import JobAnswer, job_json
from backends.serving import Answer
from backends.serving.wire.fusion import FusionShape
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent
from backends.settings import Limits
from tests.portraits import photo

DONE = Job("j1", "shop", "anna", JobState.DONE, created=1.0, expires=2.0, progress=1.0)
WANTS = [name for name, model in MODELS.items() if model.terms_with_results]


@pytest.fixture(scope="module")
def question() -> Question:
    """A blend that is asked for as a stream, whose last event is JSON."""
    both = {side: photo("hopper.jpg").as_file() for side in ("source", "target")}
    asked = {**both, "options": {"consent": True}, "stream": True}
    terms = Terms(Limits(), FAMILIES["fusion"], "mesh-blend")
    return FusionShape().read(Sent(asked, []), terms)


@pytest.mark.parametrize("name", MODELS)
def test_a_job_and_a_stream_say_what_the_licence_wants_and_no_other(
    name: str, question: Question
) -> None:
    job = job_json(replace(DONE, model=name, revision=1))
    last = question.write(Answer((Finished(b"png"),), name, 1, tokens=1, queued=0.0, ran=0.1))
    assert job.get("notice") == last.get("notice")
    assert ("notice" in job) == (name in WANTS)
    assert JobAnswer(**job).notice == job.get("notice")
    if name in WANTS:
        assert job["notice"].startswith(f"A face changed by a machine: {MODELS[name].title}. ")
        assert MODELS[name].notice[0] in job["notice"]


def test_inswapper_is_one_that_wants_something_said() -> None:
    assert "inswapper" in WANTS
    assert "non-commercial research" in job_json(replace(DONE, model="inswapper"))["notice"]
