"""The JSON of `/v1/admin`: what is sent, and what is answered."""

from pydantic import BaseModel, ConfigDict, Field


class Sent(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class PlanRequest(Sent):
    model: str = Field(description="The model that the service should run.")


class SwapRequest(PlanRequest):
    seen: int = Field(ge=0, description="The revision that was reviewed; another now is 409.")
    reason: str = Field(description="Why; it is kept in the audit.")
    agreed: bool = Field(
        False, description="That you read the terms in the plan, and may use the model here."
    )


class UndoRequest(Sent):
    seen: int = Field(ge=0, description="The revision to go back from; another now is 409.")


class AccountRequest(Sent):
    name: str
    password: str = Field(description="At least 12 characters.")
    roles: list[str] = Field(description="viewer, operator, swapper; viewer is always given.")


class KeyRequest(Sent):
    name: str = Field(description="For the people who look at the list.")
    tenant: str = Field("default", description="Whose jobs it sends and sees.")
    scopes: list[str] = Field(description="Families, and admin:viewer, :operator, :swapper.")
    expires_days: float | None = Field(None, description="Days until it ends; null never.")
    per_minute: int | None = Field(None, description="Requests a minute; null: the setting's.")
    per_day: int | None = Field(None, description="Requests a day; null: the setting's.")


class Figures(BaseModel):
    """Now; null where nothing happened in the last minute. Seconds, shares, items."""

    rps: float | None = None
    p95: float | None = None
    errors: float | None = None
    waiting: float | None = None


class Progress(BaseModel):
    stage: str = Field(description="downloading, reading, trying, or empty.")
    done: int = Field(description="Bytes, while downloading.")
    total: int


class Service(BaseModel):
    name: str
    state: str
    model: str = Field(description="What serves.")
    revision: int
    record: str = Field(description="What its record names, and should serve.")
    previous: str = Field(description="What an undo goes back to, or empty.")
    wanted: int
    ready: int
    in_flight: int
    loading: str
    progress: Progress
    reason: str = Field(description="Why it does not serve, or empty.")
    figures: Figures


class Services(BaseModel):
    at: float = Field(description="When this was so, in seconds since 1970.")
    services: list[Service]
    warnings: list[str]


class Model(BaseModel):
    name: str
    title: str
    about: str
    limits: str
    licence: str
    source: str
    territory: str
    notice: str
    device: str
    loads: bool = Field(description="Whether this version can load it.")
    runs: bool = Field(description="Whether it is what the service's record names.")


class Models(BaseModel):
    models: dict[str, list[Model]] = Field(description="By service.")


class Plan(BaseModel):
    service: str
    model: str
    before: str
    seen: int = Field(description="Send it back with the swap.")
    terms: bool = Field(description="Whether the swap must say `agreed`.")
    consequences: list[str]


class Stopped(BaseModel):
    service: str
    stopped: str = Field(description="The model that was on its way, or empty.")


class Receipt(BaseModel):
    service: str
    asked: str
    model: str = Field(description="What the record names now.")
    revision: int
    undone: str = Field(description="Why the old model serves on, or empty.")
    seconds: float
    answered: int = Field(description="Requests meanwhile.")
    failed: int


class Line(BaseModel):
    """As it stands in the file, where `previous` is the hash of the line before."""

    seq: int
    time: str
    event: str
    change: str
    user: str
    role: str
    object: str
    before: str
    after: str
    reason: str
    outcome: str
    request_id: str
    previous: str


class Lines(BaseModel):
    lines: list[Line] = Field(description="The newest first.")
    next: int | None = Field(description="`before` of the next page; null at the end.")


class Chain(BaseModel):
    intact: bool
    lines: int
    broken: int = Field(description="The first line that does not fit, or 0.")
    why: str


class Curve(BaseModel):
    service: str
    points: list[tuple[float, float]] = Field(description="Seconds since 1970, value.")


class Curves(BaseModel):
    name: str
    at: float
    series: list[Curve]
    warnings: list[str]


class Account(BaseModel):
    name: str
    roles: list[str]


class Accounts(BaseModel):
    accounts: list[Account]


class Key(BaseModel):
    """Times are seconds since 1970."""

    id: str = Field(description="The first digits of its secret.")
    name: str
    tenant: str
    scopes: list[str]
    state: str = Field(description="active, expired or revoked")
    created: float
    expires: float | None
    revoked: float | None
    per_minute: int | None
    per_day: int | None


class MadeKey(Key):
    secret: str = Field(description="Shown this once; only a hash is kept.")


class Keys(BaseModel):
    keys: list[Key]


class Job(BaseModel):
    """How it is, never what was sent or came out. Times are seconds since 1970."""

    id: str
    tenant: str
    state: str
    position: int
    progress: float
    stage: str
    created: float
    started: float | None
    ended: float | None
    expires: float
    attempt: int
    error: str
    error_type: str


class Jobs(BaseModel):
    jobs: list[Job]
