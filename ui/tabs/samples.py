"""
"Call this from code": the visitor's own request, as curl and as Python that work when pasted.

Pure text. The curl body is a quoted here-document, in which a shell changes nothing; a JSON
string of ours is also a Python string, so both say the same.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

MOST = 60_000  # characters of documents shown: more is for a program, not for a clipboard


@dataclass(frozen=True, slots=True)
class Samples:
    """`left_out` documents did not fit in."""

    curl: str
    python: str
    left_out: int


def samples(
    address: str, query: str, documents: Sequence[str], top_n: int, instruction: str = ""
) -> Samples:
    """`address` is where the portal is, without a slash at the end."""
    shown = _as_many_as_fit(documents)
    body: dict[str, object] = {"query": query, "documents": shown, "top_n": top_n}
    if instruction:
        body["instruction"] = instruction
    url = f"{address}/v1/rerank"
    return Samples(_curl(url, body), _python(url, body), len(documents) - len(shown))


def _as_many_as_fit(documents: Sequence[str]) -> list[str]:
    shown: list[str] = []
    room = MOST
    for document in documents:
        room -= len(document)
        if room < 0:
            break
        shown.append(document)
    return shown


def _curl(url: str, body: dict[str, object]) -> str:
    return (
        f"curl -sS {shlex.quote(url)} \\\n  -H 'Content-Type: application/json' \\\n"
        f"  --data-binary @- <<'JSON'\n{json.dumps(body, ensure_ascii=False, indent=2)}\nJSON\n"
    )


def _python(url: str, body: dict[str, object]) -> str:
    return f"""\
import json
from urllib.request import Request, urlopen

body = {json.dumps(body, ensure_ascii=False, indent=4)}
request = Request(
    {json.dumps(url)},
    data=json.dumps(body).encode(),
    headers={{"Content-Type": "application/json"}},
)
with urlopen(request) as response:
    for result in json.load(response)["results"]:
        print(f"{{result['relevance_score']:.3f}}", body["documents"][result["index"]])
"""
