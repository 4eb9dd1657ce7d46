"""Imported by the programs of these tests: an echo server that answers when everybody has asked."""

import http.server
import ssl
import threading
from pathlib import Path

import many

CERTIFICATE = Path(__file__).parent.parent / "patch" / "localhost.pem"

asked: list[int] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    together: threading.Barrier

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        asked.append(many.number(data))
        self.together.wait()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024  # Linux resets some connections of a longer queue


def serve(scheme: str, together: int) -> str:
    """Serve in a thread; the URL. So many requests wait for each other before they are answered."""
    _Handler.together = threading.Barrier(together)
    server = Server(("127.0.0.1", 0), _Handler)
    if scheme == "https":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"{scheme}://127.0.0.1:{server.server_port}/"
