"""
The engine contract, on one page.

An engine is one loaded model. A `Model` says how to load one, what it can do, and under which
licence. Only this package imports model libraries, and only inside loaders.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from backends.settings import Settings

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)

Emit = Callable[[int, Any], bool]
"""
`emit(index, part)` passes on part of an answer, or progress; a part of None only asks.
False: that caller has left.
"""


class Engine(Protocol[In, Out]):
    """
    One loaded model. `run` may be called from as many threads at once as its `Model.threads`
    says; `tokens` from any thread at any time. An engine that learns at load where it runs may
    have `threads` and `device` ("CPU", "GPU"); they go before its Model's. What else its status
    should tell a person is in `remarks`, a tuple of notes.
    """

    model: str

    def tokens(self, item: In) -> int:
        """The item's length in tokens, at least 1: for grouping and admission."""
        ...

    def run(self, batch: Sequence[In], emit: Emit) -> Sequence[Out]:
        """As many outputs as inputs, in their order. `BadInput` blames an input."""
        ...

    def close(self) -> None:
        """Once, never during `run`."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """
    What the loaded model can serve; a control that it lacks is disabled and says who can.

    An engine that learns at load what it can do on this machine has a `capabilities` attribute,
    and one that learns where it runs a `device`, "CPU" or "GPU"; they go before its Model's.
    """

    instruction: bool = False
    picture_query: bool = False
    picture_documents: bool = False
    streaming: bool = False
    premise: bool = False
    languages: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()  # (source, target); none: every pair of `languages`
    glossary: bool = False
    context: bool = False
    style: bool = False
    delimiters: bool = False
    html: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """
    One model of a family. `load` is None for a model that we know of and that this version
    cannot load. `about`, `limits` and `notice` are (English, Chinese): what the page says of it;
    with `terms_with_results` it says the terms under each result, because the licence wants that.
    A model that is a checkpoint names its `files` (names or patterns) below the folder
    `<models>/<source>`, its repository on each hub, how many `parameters` it has, and which
    `architecture` its config.json must name; `sha256` pins files by name. `may_download` is
    False where the licence forbids it; `told` says then of each file in a folder what it is, as
    (English, Chinese), and takes as long as reading it.
    `threads` may run it at once. `batch_tokens` caps a batch below the settings' cap, for a model
    that gains nothing from large ones and would only hold up those who left. `configure`
    makes the row of these settings, or None where they name nothing that it could load.
    """

    name: str
    title: str
    load: Callable[[Settings], Engine[Any, Any]] | None
    licence: str
    about: tuple[str, str]
    limits: tuple[str, str] = ("", "")
    licence_zh: str = ""  # where it is a sentence and no name
    source: str = ""
    territory: str = "worldwide"
    territory_zh: str = "全球"
    notice: tuple[str, str] = ("", "")
    terms_with_results: bool = False
    files: tuple[str, ...] = ()
    hubs: tuple[tuple[str, str], ...] = ()  # (hub, repository)
    parameters: int = 0
    architecture: str = ""
    sha256: tuple[tuple[str, str], ...] = ()
    may_download: bool = True
    told: Callable[[Path], tuple[tuple[str, str], ...]] | None = None
    embedded: bool = False
    device: str = "CPU"
    threads: int = 1
    batch_tokens: int = 1_000_000
    configure: "Callable[[Model, Settings], Model | None] | None" = None
    capabilities: Capabilities = field(default_factory=Capabilities)
