"""An HTTP/1.1 server: streams, and a task for each."""

import trio
from measure import Requests, listen, run


async def serve(stream: trio.SocketStream) -> None:
    requests = Requests()
    while data := await stream.receive_some(4096):
        await stream.send_all(requests.answers(data))


async def main() -> None:
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen()))
    await trio.serve_listeners(serve, [listener])


if __name__ == "__main__":
    run(main)
