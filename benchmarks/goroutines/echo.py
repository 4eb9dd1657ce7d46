"""An echo server over TCP: blocking sockets, patched, and a goroutine for each."""

from socket import socket

from goroutines import go, patch, run
from measure import listen


def serve(connection: socket) -> None:
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data)


def main() -> None:
    listener = listen()
    while True:
        connection, _ = listener.accept()
        go(serve, connection)


if __name__ == "__main__":
    patch.socket()
    run(main)
