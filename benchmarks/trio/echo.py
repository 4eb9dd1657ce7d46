"""An echo server over TCP: streams, and a task for each."""

import trio
from measure import listen, run


async def serve(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some(4096):
        await stream.send_all(data)


async def main() -> None:
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen()))
    await trio.serve_listeners(serve, [listener])


if __name__ == "__main__":
    run(main)
