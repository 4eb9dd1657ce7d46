"""A TCP echo server: blocking sockets, and a goroutine for each connection.

`goroutines run` makes accept, recv and sendall park their goroutine, so that thousands of idle
connections share a few OS threads. Nothing here says so: under plain `python` the same program
works, and a connection costs a thread for as long as it waits.

    $ goroutines run echo.py 7000
    listening on 127.0.0.1:7000
    $ nc 127.0.0.1 7000
"""

import socket
import sys

from goroutines import go


def echo(conn: socket.socket) -> None:
    with conn:
        try:
            while data := conn.recv(65536):
                conn.sendall(data)
        except ConnectionError:
            pass  # the peer has gone


def serve(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        print("listening on {}:{}".format(*server.getsockname()), flush=True)
        while True:
            go(echo, server.accept()[0])


if __name__ == "__main__":
    try:
        serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    except KeyboardInterrupt:
        sys.exit(130)
