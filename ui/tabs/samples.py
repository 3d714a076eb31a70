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
    return Samples(_curl(url, body), _python(url, body, _RANKED), len(documents) - len(shown))


def translate_samples(address: str, text: str, source: str, target: str) -> Samples:
    """The same for a text; what is too long is cut, and `left_out` counts its characters."""
    body: dict[str, object] = {"text": text[:MOST], "source": source, "target": target}
    url = f"{address}/v1/translate"
    left_out = max(0, len(text) - MOST)
    return Samples(_curl(url, body), _python(url, body, _TRANSLATED), left_out)


def entailment_samples(address: str, statements: Sequence[str], premise: str = "") -> Samples:
    """For a picture in a file beside: its bytes do not belong on a clipboard."""
    url = f"{address}/v1/entailment"
    given = [f"statements={statement}" for statement in statements]
    if premise:
        given.append(f"premise={premise}")
    fields = " \\\n  ".join(f"--form-string {shlex.quote(each)}" for each in given)
    curl = f"curl -sS {shlex.quote(url)} \\\n  -F image=@photo.jpg \\\n  {fields}\n"
    body: dict[str, object] = {"image": "", "statements": list(statements)}
    if premise:
        body["premise"] = premise
    python = _python(url, body, _CHECKED).replace(
        '"image": ""', '"image": b64encode(Path("photo.jpg").read_bytes()).decode()'
    )
    imports = "import json\nfrom base64 import b64encode\nfrom pathlib import Path\n"
    return Samples(curl, python.replace("import json\n", imports, 1), 0)


def fusion_samples(address: str, blend: float, shape: float) -> Samples:
    """One blend at once, from two files beside; as a job it is the same at /v1/fusion/jobs."""
    url = f"{address}/v1/fusion"
    options = {"blend": blend, "shape": shape, "consent": True}
    curl = (
        f"curl -sS {shlex.quote(url)} \\\n  -F source=@source.jpg -F target=@target.jpg \\\n"
        f"  -F options={shlex.quote(json.dumps(options))} -o fused.png\n"
    )
    python = f"""\
import json
from base64 import b64encode
from pathlib import Path
from urllib.request import Request, urlopen

def picture(name):
    return b64encode(Path(name).read_bytes()).decode()

body = {{
    "source": picture("source.jpg"),
    "target": picture("target.jpg"),
    "options": {options!r},
}}
request = Request(
    {json.dumps(url)},
    data=json.dumps(body).encode(),
    headers={{"Content-Type": "application/json"}},
)
with urlopen(request) as response:
    Path("fused.png").write_bytes(response.read())
"""
    return Samples(curl, python, 0)


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


_RANKED = """\
    for result in json.load(response)["results"]:
        print(f"{result['relevance_score']:.3f}", body["documents"][result["index"]])
"""
_CHECKED = """\
    for result in json.load(response)["results"]:
        print(result["label"], body["statements"][result["index"]])
"""
_TRANSLATED = """\
    for translation in json.load(response)["translations"]:
        print(translation["text"])
"""


def _python(url: str, body: dict[str, object], use: str) -> str:
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
{use}"""
