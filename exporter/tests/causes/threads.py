# A thread for each connection, which reads, computes, sleeps and writes.
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = b"ok"
        if self.path == "/spin":
            spin(0.05)
        elif self.path == "/burn":
            burn(0.15)
        elif self.path == "/sleep":
            time.sleep(0.05)
        elif self.path == "/big":
            body = BIG
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
