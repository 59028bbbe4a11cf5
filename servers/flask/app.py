"""The contract as a Flask application."""

import time

from flask import Flask, Response, request

app = Flask(__name__)


@app.route("/status/<int:code>", methods=["GET", "POST", "PATCH", "DELETE"])
def status(code):
    return Response(status=code)


@app.get("/sleep/<int:milliseconds>")
def sleep(milliseconds):
    time.sleep(milliseconds / 1000)
    return "slept\n"


@app.get("/bytes/<int:count>")
def some_bytes(count):
    return Response(b"x" * count)


@app.route("/echo", methods=["POST", "PUT"])
def echo():
    return Response(request.get_data())
