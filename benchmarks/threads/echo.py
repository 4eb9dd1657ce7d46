"""An echo server over TCP: blocking sockets, and a thread for each."""

from socket import socket
from threading import Thread

from measure import listen


def serve(connection: socket) -> None:
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data)


def main() -> None:
    listener = listen()
    while True:
        connection, _ = listener.accept()
        Thread(target=serve, args=(connection,)).start()


if __name__ == "__main__":
    main()
