"""A chat room over TCP: a broadcaster that owns the members, and channels instead of locks.

    reader --joining, said, leaving--> broadcaster --inbox--> writer

Each member has a reader and a writer, and only the broadcaster knows who is there. It waits for
nobody: a member whose inbox is full does not read what it is sent, and is cut off. The first line
that a member sends is its name.

    $ python chat.py --port 7000
    listening on 127.0.0.1:7000
    $ nc 127.0.0.1 7000
    bob
    * here: ann, bob
    ann: hello
    * ann has left
"""

import argparse
import socket
import sys
from collections.abc import Iterator
from typing import NamedTuple

from goroutines import Chan, go, patch, recv, run, select, send

ROOM = 100  # lines in an inbox
LONGEST = 1000  # characters in a line; what is longer counts as several


class Member:
    def __init__(self, name: str, conn: socket.socket) -> None:
        self.name, self.conn = name, conn
        self.inbox = Chan(str, ROOM)


class Line(NamedTuple):
    author: Member
    text: str


class Broadcaster:
    """Closes an inbox when its member has left, or may not join."""

    def __init__(self) -> None:
        self.joining, self.leaving, self.said = Chan(Member), Chan(Member), Chan(Line)
        self._members: dict[str, Member] = {}

    def serve(self) -> None:
        while True:
            match select(recv(self.joining), recv(self.leaving), recv(self.said)):
                case 0, Member() as member, _:
                    self._welcome(member)
                case 1, Member() as member, _ if self._is_here(member):
                    del self._members[member.name]
                    member.inbox.close()
                    self._tell(f"* {member.name} has left")
                case 2, Line(author, text), _ if self._is_here(author):
                    self._tell(f"{author.name}: {text}", but=author)

    def _is_here(self, member: Member) -> bool:
        return self._members.get(member.name) is member

    def _welcome(self, member: Member) -> None:
        if not member.name or member.name in self._members:
            member.inbox.send("* take another name")
            member.inbox.close()
            return
        self._tell(f"* {member.name} has joined")
        self._members[member.name] = member
        member.inbox.send(f"* here: {', '.join(self._members)}")

    def _tell(self, line: str, but: Member | None = None) -> None:
        for member in self._members.values():
            if member is not but and select(send(member.inbox, line), default=True).index < 0:
                hang_up(member.conn)  # so its reader will say that it leaves


def hang_up(conn: socket.socket) -> None:
    """What waits in the socket, in either direction, waits no longer."""
    try:
        conn.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the peer was faster


def write(member: Member) -> None:
    with member.conn as conn:
        try:
            for line in member.inbox:
                conn.sendall(f"{line}\n".encode())
        except OSError:
            pass  # it has gone
        hang_up(conn)


def lines_of(conn: socket.socket) -> Iterator[str]:
    try:
        with conn.makefile(encoding="utf-8", errors="replace") as file:
            while line := file.readline(LONGEST):
                yield line.strip()
    except OSError:
        pass  # a reset is an end like any other


def read(conn: socket.socket, room: Broadcaster) -> None:
    lines = lines_of(conn)
    member = Member(next(lines, ""), conn)
    go(write, member)
    room.joining.send(member)
    for text in lines:
        room.said.send(Line(member, text))
    room.leaving.send(member)


def main(port: int) -> None:
    room = Broadcaster()
    go(room.serve)
    with socket.create_server(("127.0.0.1", port)) as server:
        print("listening on {}:{}".format(*server.getsockname()), flush=True)
        while True:
            go(read, server.accept()[0], room)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a chat room over TCP")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    args = parser.parse_args()
    patch.all()
    try:
        run(main, args.port)
    except KeyboardInterrupt:
        sys.exit(130)
