# FastAPI: `def` endpoints run in a pool of threads, `async def` ones in the event loop.
import asyncio
import sys
import time

import uvicorn
from fastapi import FastAPI, Response

app = FastAPI()


@app.get("/ok")
def ok():
    return "ok"


@app.get("/spin")
def do_spin():
    spin(0.05)
    return "ok"


@app.get("/burn")
def do_burn():
    burn(0.15)
    return "ok"


@app.get("/sleep")
def do_sleep():
    time.sleep(0.05)
    return "ok"


@app.get("/big")
def big():
    return Response(BIG)


@app.get("/async/ok")
async def async_ok():
    return "ok"


@app.get("/async/spin")
async def async_spin():
    spin(0.05)
    return "ok"


@app.get("/async/burn")
async def async_burn():
    burn(0.15)
    return "ok"


@app.get("/async/sleep")
async def async_sleep():
    await asyncio.sleep(0.05)
    return "ok"


@app.get("/async/big")
async def async_big():
    return Response(BIG)


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
