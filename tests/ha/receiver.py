"""A receiver of webhooks that remembers which events it was told of."""

import http.server
import json
import threading
from collections import Counter
from typing import Any


class Receiver:
    """Listens on loopback until it is stopped."""

    def __init__(self) -> None:
        self.told: Counter[int] = Counter()
        told = self.told

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                told.update(int(event["id"]) for event in json.loads(body)["events"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
