"""
A small process under load, to be killed at any moment: jobs over a service that is always busy.

    python -m tests.e2e.jobs_driver FOLDER load    accept jobs without end, tell of each
    python -m tests.e2e.jobs_driver FOLDER settle  accept none; when all have ended, tell how

Told on standard output, a JSON object a line. The service writes in FOLDER/ran what it begins
and what it ends, so that nothing that ran twice can hide.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from backends.engines.fusion import Progress
from backends.errors import BadInput, NotFound, Overloaded
from backends.identity import ANONYMOUS, Ask, Principal
from backends.jobs import Job, Packing
from backends.jobs.embedded import EmbeddedJobs
from backends.jobs.owners import bearer
from backends.serving import Answer
from backends.settings import Jobs
from backends.telemetry import Instruments

CALLERS = tuple(
    Principal(f"caller {n}", tenant=f"tenant {n % 2}", method="account") for n in range(3)
)
STRANGER = Principal("stranger", tenant="tenant 0", method="account")


def tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


class Service:
    """Works in small steps; refuses one job in seven."""

    name = "fusion"

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def stream(self, item: str, ask: Ask) -> AsyncIterator[Any]:
        os.write(self._log, f"began {item}\n".encode())
        for step in range(4):
            yield Progress(step / 4, "fusing")
            await asyncio.sleep(random.uniform(0, 0.01))
        if hash(item) % 7 == 0:
            raise BadInput("No face was found.")
        os.write(self._log, f"ended {item}\n".encode())
        yield Answer((item,), "stub", 1, 1, 0.0, 0.0)


async def load(jobs: EmbeddedJobs) -> None:
    """Submit for ever; cancel one in five, delete none."""
    while True:
        who = random.choice((*CALLERS, ANONYMOUS))
        name = f"{os.getpid()}-{random.getrandbits(60):x}"
        try:
            job = await jobs.submit(name, Ask(who))
        except Overloaded:
            await asyncio.sleep(0.01)
            continue
        tell(accepted=job.id, item=name, token=job.token, subject=who.subject, tenant=who.tenant)
        if random.random() < 0.2:
            await jobs.cancel(job.id, owner_of(job.token, who))


def owner_of(token: str, who: Principal) -> Principal:
    return bearer(token) if token else who


async def settle(jobs: EmbeddedJobs) -> None:
    """Tell how each job that was accepted has ended, and who else could see it."""
    for line in sys.stdin:
        accepted = json.loads(line)
        named = Principal(accepted["subject"], tenant=accepted["tenant"], method="account")
        owner = owner_of(accepted["token"], named)
        job: Job | None = None
        async for now in jobs.watch(accepted["accepted"], owner):
            job = now
        assert job is not None
        result = (await jobs.result(job.id, owner)).decode() if job.state == "done" else ""
        seen = [who.subject for who in (STRANGER, ANONYMOUS) if await can_see(jobs, job.id, who)]
        tell(id=job.id, state=job.state, error=job.error, result=result, seen_by=seen)


async def can_see(jobs: EmbeddedJobs, job: str, who: Principal) -> bool:
    try:
        await jobs.get(job, who)
    except NotFound:
        return False
    return True


async def main(folder: Path, what: str) -> None:
    packing = Packing(
        pack=str.encode, unpack=bytes.decode, finish=lambda output: (output.encode(), ())
    )
    jobs = EmbeddedJobs(
        Jobs(workers=2), folder / "jobs", Service(folder / "ran"), packing, Instruments()
    )
    await jobs.start()
    tell(ready=os.getpid())
    await {"load": load, "settle": settle}[what](jobs)
    await jobs.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
