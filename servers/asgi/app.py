"""The contract as a FastAPI application."""

import asyncio

from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.api_route("/status/{code}", methods=["GET", "POST", "PATCH", "DELETE"])
async def status(code: int) -> Response:
    return Response(status_code=code)


@app.get("/sleep/{milliseconds}")
async def sleep(milliseconds: int) -> Response:
    await asyncio.sleep(milliseconds / 1000)
    return Response("slept\n")


@app.api_route("/bytes/{count}", methods=["GET", "HEAD"])
async def some_bytes(count: int) -> Response:
    return Response(b"x" * count)


@app.api_route("/echo", methods=["POST", "PUT"])
async def echo(request: Request) -> Response:
    return Response(await request.body())
