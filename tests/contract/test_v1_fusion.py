"""Fusion over real HTTP: faces, one blend at once, and jobs that belong to their owner."""

import io
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests import portraits, running

PHOTOS = Path(__file__).parents[1] / "photos"
ASTRONAUT = (PHOTOS / "astronaut.png").read_bytes()
HOPPER = (PHOTOS / "hopper.jpg").read_bytes()
COFFEE = (PHOTOS / "coffee.png").read_bytes()
AGREED = {"consent": True}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running.Process("--port", "0", state_dir=tmp_path_factory.mktemp("state")) as portal:
        yield portal.ready().address


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """A program: no cookie."""
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def form(source: bytes = HOPPER, target: bytes = ASTRONAUT, **options: Any) -> dict[str, Any]:
    return {
        "files": {"source": ("a.txt", source), "target": ("b.bin", target)},
        "data": {"options": json.dumps(AGREED | options)},
    }


def submit(client: httpx.Client, **options: Any) -> dict[str, Any]:
    answer = client.post("/v1/fusion/jobs", **form(**options))
    assert answer.status_code == 202, answer.text
    value: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/fusion/jobs/{value['id']}"
    return value


def bearer(job: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {job['token']}"}


def finished(client: httpx.Client, job: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    def now() -> dict[str, Any]:
        value: dict[str, Any] = client.get(f"/v1/fusion/jobs/{job['id']}", headers=headers).json()
        return value

    running.wait_until(lambda: now()["state"] in ("done", "failed", "cancelled"), "it never ended")
    return now()


def test_the_faces_of_a_picture_are_listed_largest_first(client: httpx.Client) -> None:
    answer = client.post("/v1/fusion/faces", files={"image": ("x", ASTRONAUT)})
    (face,) = answer.json()["faces"]
    assert face["index"] == 0
    assert face["box"][2] > 50
    assert face["thumbnail"].startswith("data:image/jpeg;base64,")
    assert "why_not" not in face
    none = client.post("/v1/fusion/faces", json={"image": b64encode(COFFEE).decode()})
    assert none.json()["faces"] == []


def test_one_blend_is_a_marked_png(client: httpx.Client) -> None:
    answer = client.post("/v1/fusion", **form())
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-model"] == "mesh-blend"
    with (
        Image.open(io.BytesIO(answer.content)) as made,
        Image.open(PHOTOS / "astronaut.png") as old,
    ):
        assert made.size == old.size
        assert "AI-edited" in made.info["Description"]
        corner = (made.width - 110, made.height - 40, made.width, made.height)
        assert made.convert("RGB").crop(corner) != old.convert("RGB").crop(corner)


def test_pictures_can_be_judged_without_making_one(client: httpx.Client) -> None:
    def checked(target: bytes) -> httpx.Response:
        pictures = {"source": HOPPER, "target": target}
        body = {name: b64encode(data).decode() for name, data in pictures.items()}
        return client.post("/v1/fusion", json={**body, "options": AGREED, "check": True})

    assert checked(ASTRONAUT).json() == {"model": "mesh-blend", "checked": True}
    refused = checked(COFFEE)
    assert refused.status_code == 422
    assert "No face was found in the target" in refused.json()["error"]


def test_a_blend_can_be_streamed(client: httpx.Client) -> None:
    body = {
        "source": b64encode(HOPPER).decode(),
        "target": b64encode(ASTRONAUT).decode(),
        "options": AGREED,
        "stream": True,
    }
    with client.stream("POST", "/v1/fusion", json=body) as answer:
        events = [json.loads(x.removeprefix("data: ")) for x in answer.iter_lines() if x]
    shares = [event["progress"] for event in events[:-1]]
    assert len(shares) >= 3
    assert shares == sorted(shares)
    assert b64decode(events[-1]["image"]).startswith(b"\x89PNG")


def test_a_job_runs_to_its_picture_and_is_deleted_on_request(client: httpx.Client) -> None:
    job = submit(client)
    assert job["state"] == "waiting"
    assert job["token"].startswith("qj_")
    done = finished(client, job, bearer(job))
    assert (done["state"], done["progress"]) == ("done", 1.0)
    assert "token" not in done
    result = client.get(f"/v1/fusion/jobs/{job['id']}/result", headers=bearer(job))
    assert result.headers["content-type"] == "image/png"
    assert result.headers["cache-control"] == "private, no-store"
    assert result.content.startswith(b"\x89PNG")
    gone = client.delete(f"/v1/fusion/jobs/{job['id']}", headers=bearer(job))
    assert gone.status_code == 204
    again = client.get(f"/v1/fusion/jobs/{job['id']}/result", headers=bearer(job))
    assert again.status_code == 404


def test_events_end_with_the_final_state(client: httpx.Client) -> None:
    job = submit(client)
    path = f"/v1/fusion/jobs/{job['id']}/events"
    with client.stream("GET", path, headers=bearer(job)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [
            json.loads(x.removeprefix("data: ")) for x in answer.iter_lines() if x.startswith("d")
        ]
    assert events[-1]["state"] == "done"
    assert [event["state"] for event in events].count("done") == 1


def test_to_anybody_else_a_job_is_not_there(client: httpx.Client, url: str) -> None:
    job, other = submit(client), submit(client)
    one = f"/v1/fusion/jobs/{job['id']}"
    for headers in ({}, bearer(other), {"authorization": "Bearer qj_wrong"}):
        for method, path in (
            ("GET", one),
            ("DELETE", one),
            ("GET", f"{one}/events"),
            ("GET", f"{one}/result"),
            ("POST", f"{one}/retry"),
        ):
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 404, (method, path, headers)
            assert answer.json()["error_type"] == "NotFound"
    assert finished(client, job, bearer(job))["state"] == "done"


def test_a_browsers_job_belongs_to_its_cookie(url: str) -> None:
    with (
        httpx.Client(base_url=url, timeout=60) as browser,
        httpx.Client(base_url=url, timeout=60) as another,
    ):
        for each in (browser, another):
            each.get("/")
            assert "quartet_visitor" in each.cookies
        job = submit(browser)
        assert "token" not in job
        assert finished(browser, job, {})["state"] == "done"
        assert [each["id"] for each in browser.get("/v1/fusion/jobs").json()["jobs"]] == [job["id"]]
        assert another.get("/v1/fusion/jobs").json()["jobs"] == []
        assert another.get(f"/v1/fusion/jobs/{job['id']}").status_code == 404
        forged = {"quartet_visitor": browser.cookies["quartet_visitor"][:-4] + "0000"}
        assert httpx.get(f"{url}/v1/fusion/jobs/{job['id']}", cookies=forged).status_code == 404


def test_a_job_can_be_cancelled(client: httpx.Client) -> None:
    jobs = [submit(client) for _ in range(3)]
    answer = client.delete(f"/v1/fusion/jobs/{jobs[2]['id']}", headers=bearer(jobs[2]))
    assert answer.json()["state"] == "cancelled"
    refused = client.get(f"/v1/fusion/jobs/{jobs[2]['id']}/result", headers=bearer(jobs[2]))
    assert refused.status_code == 409
    for job in jobs[:2]:
        assert finished(client, job, bearer(job))["state"] == "done"


def group() -> bytes:
    file = io.BytesIO()
    Image.fromarray(portraits.group()).save(file, "PNG")
    return file.getvalue()


def tiny() -> bytes:
    with Image.open(PHOTOS / "astronaut.png") as image:
        small = image.convert("RGB").resize((72, 72))
    file = io.BytesIO()
    small.save(file, "PNG")
    return file.getvalue()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no consent": ({"consent": False}, "consent must be true"),
    "no face": ({"target": COFFEE}, "target: No face was found"),
    "the same picture twice": ({"target": HOPPER}, "target: Source and target are the same"),
    "a face turned away": ({"source": (PHOTOS / "camera.png").read_bytes()}, "source: "),
    "a face that is not there": ({"target_face": 3}, "target_face: The target"),
    "blend above 1": ({"blend": 1.5}, "blend must lie between 0 and 1"),
    "an unknown option": ({"colour": 1}, "options.colour"),
    "a priority beyond": ({"priority": 99}, "options.priority"),
    "no picture": ({"source": b"hello"}, "source: "),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_done_is_refused_before_a_job_is_made(
    client: httpx.Client, kind: str
) -> None:
    options, sentence = REFUSED[kind]
    for path in ("/v1/fusion/jobs", "/v1/fusion"):
        answer = client.post(path, **form(**options))
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"].startswith(sentence), answer.json()
        assert "\n" not in answer.json()["error"]


def test_several_faces_and_none_chosen_is_asked_for(client: httpx.Client) -> None:
    picture = group()
    answer = client.post("/v1/fusion/jobs", **form(target=picture))
    assert answer.status_code == 422
    assert "shows 6 faces; choose one" in answer.json()["error"]
    assert client.post("/v1/fusion", **form(target=picture, target_face=2)).status_code == 200


def test_a_face_under_24_pixels_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/fusion", **form(target=tiny()))
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert "at least 24 are needed" in error or "No face was found" in error


def test_options_that_are_no_json_are_refused(client: httpx.Client) -> None:
    given = form()
    given["data"] = {"options": "{consent}"}
    answer = client.post("/v1/fusion/jobs", **given)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("options must be JSON")


def test_an_anonymous_caller_may_have_ten_jobs_waiting(client: httpx.Client) -> None:
    accepted = []
    for _ in range(40):
        answer = client.post("/v1/fusion/jobs", **form())
        if answer.status_code == 429:
            break
        accepted.append(answer.json())
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert len(accepted) >= 10
    for job in accepted:
        client.delete(f"/v1/fusion/jobs/{job['id']}", headers=bearer(job))
