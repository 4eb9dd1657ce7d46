"""An HTTP/1.1 server: blocking sockets, and a thread for each."""

from socket import socket
from threading import Thread

from measure import Requests, listen


def serve(connection: socket) -> None:
    requests = Requests()
    with connection:
        while data := connection.recv(4096):
            connection.sendall(requests.answers(data))


def main() -> None:
    listener = listen()
    while True:
        connection, _ = listener.accept()
        Thread(target=serve, args=(connection,)).start()


if __name__ == "__main__":
    main()
