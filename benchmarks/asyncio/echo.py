"""An echo server over TCP: streams, and a task for each."""

import asyncio

from measure import BACKLOG, listen, run


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, sock=listen(), backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    run(main)
