"""A TCP proxy: for each connection two goroutines, one a direction.

    client --copy--> target
           <--copy--

The two are members of a Group. Where one side has sent everything, the other is told so, and may
go on sending. Where a copy fails, the Group ends the other one, and both sides are reset: what was
cut off must not look complete.

    $ python proxy.py 127.0.0.1:80 --port 8080
    listening on 127.0.0.1:8080
    127.0.0.1:36918: 73 bytes sent, 1256 received
    127.0.0.1:36920: [Errno 104] Connection reset by peer
"""

import argparse
import socket
import struct
import sys

from goroutines import Chan, Group, RecvChan, SendChan, go, patch, run

RESET_AT_CLOSE = struct.pack("ii", True, 0)  # to linger for 0 seconds


def copy(source: socket.socket, sink: socket.socket) -> int:
    total = 0
    while data := source.recv(65536):
        sink.sendall(data)
        total += len(data)
    sink.shutdown(socket.SHUT_WR)
    return total


def relay(client: socket.socket, target: socket.socket) -> str:
    """Until both have sent everything; how much it was."""
    try:
        with Group() as g:
            sent, received = g.go(copy, client, target), g.go(copy, target, client)
    except BaseException:
        for side in (client, target):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        raise
    return f"{sent.value()} bytes sent, {received.value()} received"


def serve(client: socket.socket, peer: str, address: tuple[str, int], log: SendChan[str]) -> None:
    with client:
        try:
            with socket.create_connection(address) as target:
                outcome = relay(client, target)
        except* OSError as failed:
            outcome = "; ".join(map(str, failed.exceptions))
    log.send(f"{peer}: {outcome}")


def write(log: RecvChan[str]) -> None:
    for line in log:
        print(line, flush=True)


def main(address: tuple[str, int], port: int) -> None:
    log = Chan(str)
    go(write, log.receiver)
    with socket.create_server(("127.0.0.1", port)) as server:
        log.send("listening on {}:{}".format(*server.getsockname()))
        while True:
            client, peer = server.accept()
            go(serve, client, "{}:{}".format(*peer), address, log.sender)


def address_of(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="pass TCP connections on")
    parser.add_argument("target", metavar="HOST:PORT", type=address_of)
    parser.add_argument("--port", type=int, default=0, help="to listen on; default: a free one")
    args = parser.parse_args()
    patch.all()
    try:
        run(main, args.target, args.port)
    except KeyboardInterrupt:
        sys.exit(130)
