"""What the servers of all Python peers share."""

import resource
import socket

__all__ = ["BACKLOG", "Requests", "listen"]

BACKLOG = 4096  # more wait in the kernel's own queue, or ask again after a second

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!"
BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def listen() -> socket.socket:
    """On a free port, which is printed. As many descriptors are allowed as can be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(listener.getsockname()[1], flush=True)
    return listener


# ---- HTTP/1.1, without I/O ----


def answer(head: bytes) -> bytes:
    request, *lines = head.split(b"\r\n")
    method, _, version = request.split(b" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    return OK if (method, version) == (b"GET", b"HTTP/1.1") and b"host" in headers else BAD


class Requests:
    """Of one connection, without bodies."""

    def __init__(self) -> None:
        self.received = b""

    def answers(self, data: bytes) -> bytes:
        """To all requests that are complete with data."""
        *heads, self.received = (self.received + data).split(b"\r\n\r\n")
        return b"".join([answer(head) for head in heads])
