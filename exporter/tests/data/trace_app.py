"""A small application: answers slowly, with an error, or not at all, as its path says."""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b"ok\n"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        parts = self.path.split("/")
        if parts[1] == "slow":
            time.sleep(int(parts[2]) / 1000)
        if parts[1] == "drop":
            self.close_connection = True
            return
        self.answer(500 if parts[1] == "fail" else 200)

    def do_POST(self):
        self.answer(201)

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
