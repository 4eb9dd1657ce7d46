"""An echo server over TCP: gevent's sockets, and a greenlet for each."""

from gevent.server import StreamServer
from gevent.socket import socket
from measure import listen


def serve(connection: socket, address: tuple[str, int]) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


if __name__ == "__main__":
    StreamServer(socket(fileno=listen().detach()), serve).serve_forever()
