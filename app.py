"""
The one entry: builds every part once and hands them down; SIGTERM closes every part.

    python app.py                       the whole portal in one process
    python app.py --serve rerank        one service, HTTP only; Gradio is never imported
    python app.py account add NAME      a local account for Admin; `remove NAME` ends it
    python app.py key make NAME …       an API key for a program; `list` and `revoke ID` too
    python app.py audit verify          walks the audit's chain of hashes
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

# What must stand before a first import: engines use our threads, not OpenMP's, and Gradio
# neither calls home nor keeps what visitors typed.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
for _name, _value in {
    "ANALYTICS_ENABLED": "False",
    "RUN_HISTORY": "False",
    "ANALYTICS_CACHE_FREQUENCY": "100000",
    "ANALYTICS_MAX_EVENTS": "100",
    "HEARTBEAT_INTERVAL": "10",
}.items():
    os.environ.setdefault(f"GRADIO_{_name}", _value)

from fastapi import FastAPI  # noqa: E402
from fastapi_offline import FastAPIOffline  # noqa: E402
from starlette.middleware.cors import CORSMiddleware  # noqa: E402
from starlette.middleware.gzip import GZipMiddleware  # noqa: E402

from backends.errors import QuartetError  # noqa: E402
from backends.families import FAMILIES, Family, configured  # noqa: E402
from backends.identity import Access, Identity, Keys  # noqa: E402
from backends.identity.commands import (  # noqa: E402
    add_account_commands,
    add_key_commands,
    run_account_command,
    run_key_command,
)
from backends.routes.answers import add_error_answers, add_unknown_routes  # noqa: E402
from backends.routes.described import tell_of_keys, tell_only_our_errors  # noqa: E402
from backends.routes.dialects import DIALECTS  # noqa: E402
from backends.routes.dialects.dialect import Dialect  # noqa: E402
from backends.routes.gate import RATE_HEADERS, Gate  # noqa: E402
from backends.routes.health import add_health_routes, add_internal_routes  # noqa: E402
from backends.routes.lifecycle import Lifecycle  # noqa: E402
from backends.routes.models import add_model_routes  # noqa: E402
from backends.routes.skin import Skin  # noqa: E402
from backends.server import address_of, listen, serve  # noqa: E402
from backends.serving.local import LocalService  # noqa: E402
from backends.serving.record import Records  # noqa: E402
from backends.serving.watchdog import Watchdog  # noqa: E402
from backends.serving.wire.exact import Exact  # noqa: E402
from backends.settings import Server, Settings, read_settings  # noqa: E402
from backends.telemetry import Instruments, set_up_logging  # noqa: E402

if TYPE_CHECKING:
    from backends.jobs.embedded import EmbeddedJobs
    from backends.portal import Portal
    from backends.serving.remote import RemoteService

VERSION = "0.1.0"


class Parts:
    """
    What both starts have: services, their instruments and records, and the way out. With
    `may_ask` a family that the settings name addresses for runs there and not here.
    """

    def __init__(
        self,
        settings: Settings,
        families: Mapping[str, Family],
        *,
        may_ask: bool,
        dialects: Mapping[str, tuple[Dialect, ...]] = DIALECTS,
    ) -> None:
        self.settings = settings
        self.dialects = dialects
        self.families = families
        self.instruments = Instruments()
        self.records = Records(settings.state_dir / "records")
        self.services = {
            name: self._remote(family)
            if may_ask and settings.remote.addresses(name)
            else LocalService(family, settings, self.instruments, self.records)
            for name, family in families.items()
        }
        self.lifecycle = Lifecycle(self.services, settings.server.drain_seconds)
        self.keys = Keys(settings.state_dir / "keys.json")
        self.access = Access(settings.access, self.keys, settings.state_dir)

    def _remote(self, family: Family) -> "RemoteService":
        from backends.serving.remote import RemoteService  # its client is slow to import

        shape = self.dialects[family.name][0].shape
        assert isinstance(shape, Exact), "a family's own shape can say everything"
        return RemoteService(family, shape, self.settings, self.records)

    def fusion_jobs(self) -> "EmbeddedJobs | None":
        """Jobs over this process's fusion, if it is served here."""
        if "fusion" not in self.services:
            return None
        from backends.engines.fusion import packing
        from backends.jobs import Packing
        from backends.jobs.embedded import EmbeddedJobs

        return EmbeddedJobs(
            self.settings.jobs,
            self.settings.state_dir / "jobs",
            self.services["fusion"],
            Packing(packing.pack, packing.unpack, packing.finish),
            self.instruments,
        )

    def application(self) -> FastAPI:
        """The parent application with the routes that every start has."""

        @asynccontextmanager
        async def life(app: FastAPI) -> AsyncIterator[None]:
            for service in self.services.values():
                await service.start()
            yield
            await asyncio.gather(*(service.close() for service in self.services.values()))
            self.access.close()

        app: FastAPI = FastAPIOffline(
            title="Quartet",
            version=VERSION,
            docs_url="/docs",
            redoc_url=None,
            lifespan=life,
            root_path=self.settings.server.root_path,
            swagger_ui_parameters={"validatorUrl": None},  # the default asks a host outside
        )
        add_error_answers(app)
        tell_only_our_errors(app)
        tell_of_keys(app, self.settings.access.anonymous)
        watchdog = Watchdog(self.settings.watchdog)
        add_health_routes(app, self.services, self.instruments, self.lifecycle, watchdog)
        add_internal_routes(app, self.services, self.records, self.settings, self.lifecycle)
        add_model_routes(
            app, self.families, self.services, self.settings, self.instruments, self.dialects
        )
        return app

    def dress(self, app: FastAPI, identity: Identity | None) -> None:
        """What comes after every route: the middleware, outermost last."""
        add_unknown_routes(app)
        server = self.settings.server
        app.add_middleware(
            Gate, access=self.access, families=self.services, instruments=self.instruments
        )
        app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
        app.add_middleware(
            CORSMiddleware,  # always there: without it Gradio would reflect any origin
            allow_origins=server.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[
                "x-model",
                "x-model-revision",
                "x-pod",
                "x-request-id",
                "retry-after",
                *RATE_HEADERS,
            ],
        )
        app.add_middleware(Skin, server=server, lifecycle=self.lifecycle, identity=identity)


def build_service(
    settings: Settings, name: str, families: Mapping[str, Family] = FAMILIES
) -> tuple[FastAPI, Lifecycle]:
    """One family's service, HTTP only."""
    parts = Parts(settings, configured({name: families[name]}, settings), may_ask=False)
    app = parts.application()
    parts.dress(app, identity=None)
    return app, parts.lifecycle


def build_portal(
    settings: Settings,
    families: Mapping[str, Family] = FAMILIES,
    announce: Callable[[str], None] = lambda token: None,
) -> tuple[FastAPI, Lifecycle, "Portal"]:
    """Every family's service, the pages and Admin in one process."""
    from backends.jobs.owners import Visitors
    from backends.ops.audit import Audit
    from backends.ops.changes import Changes
    from backends.ops.local import LocalCluster, LocalMetrics
    from backends.ops.oversight import Oversight
    from backends.ops.permits import Permits
    from backends.ops.swap import Swaps
    from backends.portal import Portal
    from backends.routes.admin import add_admin_routes
    from backends.routes.jobs import add_job_routes
    from backends.routes.sign_in import add_sign_in
    from backends.routes.visitors import VisitorCookie
    from ui.pages import mount

    families = configured(families, settings)
    parts = Parts(settings, families, may_ask=True)
    identity = Identity(settings.identity, settings.state_dir, parts.keys, announce=announce)
    visitors = Visitors(settings.state_dir)
    jobs = parts.fusion_jobs()
    audit = Audit(settings.state_dir / "audit.jsonl")
    changes = Changes(audit)
    cluster = LocalCluster(parts.services, families, parts.records, settings.models)
    metrics = LocalMetrics(parts.instruments)
    portal = Portal(
        settings=settings,
        families=families,
        services=parts.services,
        instruments=parts.instruments,
        identity=identity,
        access=parts.access,
        cluster=cluster,
        metrics=metrics,
        audit=audit,
        swaps=Swaps(cluster, audit, parts.instruments, families),
        permits=Permits(identity.accounts, identity.keys, changes),
        jobs=jobs,
        oversight=None if jobs is None else Oversight(jobs, changes),
        visitors=visitors,
    )
    app = parts.application()
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def life(application: FastAPI) -> AsyncIterator[None]:
        async with inner(application):
            metrics.start()
            if jobs is not None:
                await jobs.start()
            yield
            if jobs is not None:
                await jobs.close()
            await metrics.close()
            await portal.swaps.close()
            await changes.close()
        audit.close()

    app.router.lifespan_context = life
    add_sign_in(app, identity, settings)
    add_admin_routes(app, portal)
    if jobs is not None:
        fusion = parts.services["fusion"]
        add_job_routes(app, jobs, visitors, fusion, settings, parts.instruments)
        parts.lifecycle.also(jobs)
    app.add_middleware(VisitorCookie, visitors=visitors, secure=settings.identity.secure_cookie)
    parts.dress(app, identity)
    mount(app, portal)
    return app, parts.lifecycle, portal


def check_aliases(settings: Settings) -> None:
    for alias, name in settings.server.aliases.items():
        if name not in FAMILIES:
            raise SystemExit(
                f"QUARTET_SERVER__ALIASES: {alias!r} means {name!r}, and no service is called "
                f"that; there is {', '.join(FAMILIES)}."
            )


def run(settings: Settings, name: str | None) -> None:
    """Start what was asked for and stay until it is told to leave."""
    check_aliases(settings)
    set_up_logging(settings.server.log_format)
    listening = listen(settings.server)
    address = address_of(listening, settings.server)
    if name is not None:
        app, lifecycle = build_service(settings, name)
        ready = f"Quartet serves {name} at {address}/v1/{name} (API reference: {address}/docs)"
        serve(app, lifecycle, settings.server, listening, ready)
        return

    def announce(token: str) -> None:
        print(f"    Sign in to Admin once: {address}/admin/?token={token}", flush=True)

    app, lifecycle, portal = build_portal(settings, announce=announce)
    token = portal.identity.token
    door = f"{address}/admin/?token={token}" if token else f"{address}/admin/"
    ready = (
        f"\n    Quartet is at {address}/\n    Sign in to Admin{' once' if token else ''}: {door}\n"
    )
    serve(app, lifecycle, settings.server, listening, ready)


def verify_audit(settings: Settings) -> None:
    from backends.ops.audit import verify

    chain = verify(settings.state_dir / "audit.jsonl")
    if not chain.is_intact:
        raise SystemExit(f"Line {chain.broken} of {chain.lines} does not fit: {chain.why}.")
    print(f"The audit is intact: {chain.lines} lines, each with the hash of the one before.")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="app.py", description="Quartet: a portal for model services."
    )
    top.add_argument("--host", help="address to listen on (127.0.0.1)")
    top.add_argument("--port", type=int, help="port to listen on (7860)")
    top.add_argument("--serve", choices=sorted(FAMILIES), help="run this one service, HTTP only")
    top.add_argument("--version", action="version", version=f"Quartet {VERSION}")
    commands = top.add_subparsers(dest="command")
    add_account_commands(commands)
    add_key_commands(commands)
    audit = commands.add_parser("audit", help="the record of every change")
    audit.add_subparsers(dest="action", required=True).add_parser("verify")
    return top


def main() -> None:
    asked = parser().parse_args()
    given = {k: v for k in ("host", "port") if (v := getattr(asked, k)) is not None}
    settings = read_settings()
    if given:
        server = Server.model_validate(settings.server.model_dump() | given)
        settings = settings.model_copy(update={"server": server})
    try:
        if asked.command == "account":
            run_account_command(asked, settings.state_dir)
        elif asked.command == "key":
            run_key_command(asked, settings.state_dir)
        elif asked.command == "audit":
            verify_audit(settings)
        else:
            run(settings, asked.serve)
    except QuartetError as error:
        raise SystemExit(error.text) from error


if __name__ == "__main__":
    main()
