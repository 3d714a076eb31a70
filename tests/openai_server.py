"""
A server that speaks OpenAI's chat completions over a real socket, as vLLM does: SSE chunks, a role
first, a usage chunk at the end. What it does wrong is chosen by `fault`.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

MODEL = "tencent/Hy-MT2-7B"
STATUSES: dict[str, tuple[int, Any]] = {
    "busy": (429, {"error": {"message": "slow down", "type": "rate_limit"}}),
    "key": (401, {"error": "Unauthorized"}),
    "down": (503, "<html>upstream connect\n error</html>"),
    "starting": (503, {"detail": "Service is not ready."}),
    "broken": (500, {"error": {"message": "CUDA\nerror " + "x" * 500}}),
    "context": (400, {"error": {"message": "maximum context length is 8 tokens"}}),
    "sglang": (400, {"object": "error", "message": "too long.", "type": "BadRequest", "code": 400}),
    "old model": (404, {"error": {"message": "The model `x` does not exist.", "code": 404}}),
}
EVENTS = {
    "error event": f"data: {json.dumps({'error': {'message': 'out of memory', 'code': 500}})}\n\n",
    "not JSON": "data: {half\n\n",
    "other JSON": 'data: {"choices": "none"}\n\n',
    "endless line": "data: ",
}
ENDINGS = ("abort", "content_filter")
ENDLESS = {"still here": ": still here\n\n", "endless line": " " * 1_000_000}
ENDLESS["endless comments"] = f":{'x' * 1_000_000}\n"
AGAIN = {429: "7", 503: "40"}


class Server:
    """Answers with the text of the prompt in capitals, a word a chunk."""

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.fault = ""
        self.words = 0  # sent in all
        self.bodies: list[dict[str, Any]] = []
        self.open = 0
        self.most_open = 0
        self.left = 0  # connections that were closed before their end
        self.app = Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
            ]
        )

    def refusal(self, request: Request) -> Response | None:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        if self.fault not in STATUSES:
            return None
        status, body = STATUSES[self.fault]
        headers = {"retry-after": AGAIN[status]} if status in AGAIN else {}
        if isinstance(body, str):
            return PlainTextResponse(body, status, headers)
        return JSONResponse(body, status, headers)

    async def models(self, request: Request) -> Response:
        if (refused := self.refusal(request)) is not None:
            return refused
        if self.fault == "no models":
            return JSONResponse({"object": "list", "data": []})
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def chat(self, request: Request) -> Response:
        if (refused := self.refusal(request)) is not None:
            return refused
        body = await request.json()
        self.bodies.append(body)
        if self.fault == "nonsense":
            return PlainTextResponse("Welcome to nginx!")
        return StreamingResponse(self.events(body), media_type="text/event-stream")

    async def events(self, body: dict[str, Any]) -> AsyncIterator[str]:
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        ended = False
        try:
            yield chunk({"role": "assistant", "content": ""})
            said = body["messages"][0]["content"].rpartition("\n\n")[2].upper()
            for n, word in enumerate(said.split(" ")):
                if self.fault and n == 1:
                    async for wrong in self.wrong():
                        yield wrong
                    ended = True
                    return
                self.words += 1
                yield chunk({"content": word if n == 0 else f" {word}"})
                await asyncio.sleep(0.02 if self.fault == "" and len(said) > 40 else 0)
            yield chunk({}, "stop" if "CUT" not in said else "length")
            yield f"data: {json.dumps({'choices': [], 'usage': {'total_tokens': 9}})}\n\n"
            yield "data: [DONE]\n\n"
            ended = True
        finally:
            self.open -= 1
            self.left += not ended

    async def wrong(self) -> AsyncIterator[str]:
        """In the middle of an answer."""
        if self.fault == "silence":
            await asyncio.sleep(3600)
        if self.fault == "cut":
            raise ConnectionResetError
        if self.fault in ENDINGS:
            yield chunk({}, self.fault)
        yield EVENTS.get(self.fault, "")
        while (part := ENDLESS.get(self.fault)) is not None:
            yield part
            await asyncio.sleep(0.01)


def chunk(delta: dict[str, Any], why: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": why}
    value = {"id": "c", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}
    return f": keep-alive\nevent: message\ndata: {json.dumps(value)}\n\n"
