"""An HTTP/1.1 server: gevent's sockets, and a greenlet for each."""

from gevent.server import StreamServer
from gevent.socket import socket
from measure import Requests, listen


def serve(connection: socket, address: tuple[str, int]) -> None:
    requests = Requests()
    while data := connection.recv(4096):
        connection.sendall(requests.answers(data))


if __name__ == "__main__":
    StreamServer(socket(fileno=listen().detach()), serve).serve_forever()
