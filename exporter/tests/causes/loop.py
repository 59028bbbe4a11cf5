# One thread, an event loop.
import asyncio
import sys

import uvicorn


async def app(scope, receive, send):
    path = scope["path"]
    body = b"ok"
    if path == "/spin":
        spin(0.05)
    elif path == "/burn":
        burn(0.15)
    elif path == "/sleep":
        await asyncio.sleep(0.05)
    elif path == "/big":
        body = BIG
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
