"""The application that the profiles' tests send their requests to. It knows nothing of metrics.

Every request takes PAUSE at least: its duration is far from every bound of every profile, whoever measures it.
"""

import asyncio

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PAUSE = 0.15
SLOW = 0.47
SLOWER = 1.6

app = FastAPI()


class Paused:
    """Lets a request wait before it comes to the application."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(PAUSE)
        await self.inner(scope, receive, send)


@app.get("/items/{item_id}")
def item(item_id: int) -> dict[str, int]:
    if item_id > 100:
        raise HTTPException(404, "unknown item")
    return {"id": item_id}


@app.post("/items", status_code=201)
async def new_item(item: dict[str, int]) -> dict[str, int]:
    return item


@app.put("/items")
async def items(items: dict[str, int]) -> int:
    return len(items)


@app.delete("/items/{item_id}", status_code=204)
async def no_item(item_id: int) -> None:
    pass


@app.get("/refused")
def refused() -> None:
    raise HTTPException(403, "not you")


@app.get("/moved")
def moved() -> RedirectResponse:
    return RedirectResponse("/items/1", 302)


@app.get("/boom")
def boom() -> None:
    raise RuntimeError("boom")


@app.get("/busy")
def busy() -> Response:
    return Response("busy\n", 503)


@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(SLOW)
    return "slow"


@app.get("/slower")
async def slower() -> str:
    await asyncio.sleep(SLOWER)
    return "slower"


# The client does not wait for this one.
@app.get("/left")
async def left() -> str:
    await asyncio.sleep(SLOWER)
    return "left"


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts():
        yield b"a" * 1000
        await asyncio.sleep(SLOW)
        yield b"b" * 1000

    return StreamingResponse(parts())


@app.head("/head")
@app.get("/head")
def head() -> Response:
    return Response("h" * 500)
