"""chat.py: who hears what, and what becomes of members that leave, crash or do not read."""

import socket
from contextlib import contextmanager

import pytest
from helpers import slack

from .support import connect, interrupted, reset


@pytest.fixture
def server(example):
    return example.serve("chat.py")


class Member:
    def __init__(self, address, name):
        self.conn = connect(address)
        self._lines = self.conn.makefile(encoding="utf-8")
        self.say(name)

    def say(self, line):
        self.conn.sendall(f"{line}\n".encode())

    def hears(self):
        """The next line; nothing at the end of the connection."""
        return self._lines.readline().rstrip("\n")

    def leave(self):
        self._lines.close()
        self.conn.close()

    def crash(self):
        self._lines.close()
        reset(self.conn)


@contextmanager
def room(address, *names):
    """Members that joined in this order, and have heard of each other."""
    members = []
    try:
        for number, name in enumerate(names, 1):
            members.append(Member(address, name))
            assert members[-1].hears() == f"* here: {', '.join(names[:number])}"
            for other in members[:-1]:
                assert other.hears() == f"* {name} has joined"
        yield members
    finally:
        for member in members:
            member.leave()


def test_others_hear_what_one_says(server):
    with room(server[1], "ann", "bob", "cid") as (ann, bob, cid):
        bob.say("grüß Gott")
        assert ann.hears() == cid.hears() == "bob: grüß Gott"
        ann.say("hello")
        assert bob.hears() == cid.hears() == "ann: hello"


def test_lines_of_one_member_stay_in_order(server):
    with room(server[1], "ann", "bob") as (ann, bob):
        ann.conn.sendall(b"".join(b"%d\n" % n for n in range(80)))
        assert [bob.hears() for _ in range(80)] == [f"ann: {n}" for n in range(80)]


def test_a_line_without_end_comes_in_parts(server):
    with room(server[1], "ann", "bob") as (ann, bob):
        ann.say("x" * 1500)
        assert bob.hears() == "ann: " + "x" * 1000
        assert bob.hears() == "ann: " + "x" * 500


@pytest.mark.parametrize("name", ["ann", ""])
def test_one_whose_name_is_taken_or_empty_is_not_heard(server, name):
    with room(server[1], "ann", "bob") as (ann, bob):
        other = Member(server[1], f"{name}\nhello")
        assert [other.hears(), other.hears()] == ["* take another name", ""]
        other.leave()
        ann.say("still me")
        assert bob.hears() == "ann: still me"


def test_a_connection_without_a_name(server):
    connect(server[1]).close()
    with room(server[1], "ann"):
        pass


@pytest.mark.parametrize("end", [Member.leave, Member.crash])
def test_who_has_left_or_crashed(server, end):
    with room(server[1], "ann", "bob", "cid") as (ann, bob, cid):
        end(bob)
        assert ann.hears() == cid.hears() == "* bob has left"
        ann.say("hello")
        assert cid.hears() == "ann: hello"
        again = Member(server[1], "bob")
        assert again.hears() == "* here: ann, cid, bob"
        again.leave()


def test_one_that_says_no_more_gets_what_was_said_before(server):
    with room(server[1], "ann", "bob") as (ann, bob):
        ann.say("hello")
        assert bob.hears() == "ann: hello"
        bob.say("bye")
        bob.conn.shutdown(socket.SHUT_WR)
        assert ann.hears() == "bob: bye"
        assert ann.hears() == "* bob has left"
        assert bob.hears() == ""


@pytest.mark.hang(120)
def test_one_that_does_not_read_is_cut_off(server):
    with room(server[1], "ann", "bob", "sleeper") as (ann, bob, _):
        ann.conn.settimeout(slack(60))
        said = 0
        while True:
            bob.say("x" * 900)
            said += 1
            line = ann.hears()
            if line == "* sleeper has left":
                break
            assert line == "bob: " + "x" * 900
        assert said > 100


def test_interrupt_closes_connections(server):
    program, address = server
    with room(address, "ann", "bob") as members:
        interrupted(program)
        assert [member.hears() for member in members] == ["", ""]
