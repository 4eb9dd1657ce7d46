"""A channel against a model of it: a deque, a capacity and a flag.

Hypothesis makes up sequences of operations that do not wait; the model says what each must do.
Goroutines that wait are modelled too: a list of senders or of receivers, first come first served.
"""

from __future__ import annotations

import collections
from typing import Any

import pytest

pytest.importorskip("hypothesis")

from goroutines import Chan, ChannelClosed, go, recv, run, select, send
from helpers import eventually
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from .support import Closed, Nothing, take, waiting


class ChannelMachine(RuleBasedStateMachine):
    """Operations that never wait, from one thread."""

    @initialize(capacity=st.integers(0, 5))
    def make(self, capacity: int) -> None:
        self.chan: Chan[Any] = Chan(object, capacity)
        self.model: collections.deque[int] = collections.deque()
        self.capacity, self.closed, self.next = capacity, False, 0

    def fresh(self) -> int:
        self.next += 1
        return self.next

    def sends(self, operation: Any) -> None:
        """What a send that does not wait must do, said by the model."""
        value = self.fresh()
        if self.closed:
            with pytest.raises(ChannelClosed):
                operation(value)
        elif len(self.model) < self.capacity:
            operation(value)
            self.model.append(value)
        else:
            with pytest.raises(TimeoutError):
                operation(value)

    def receives(self, operation: Any) -> None:
        if self.model:
            assert operation() == self.model.popleft()
        elif self.closed:
            with pytest.raises(ChannelClosed):
                operation()
        else:
            with pytest.raises(TimeoutError):
                operation()

    @rule()
    def send_timeout_zero(self) -> None:
        self.sends(lambda v: self.chan.send(v, timeout=0))

    @rule()
    def send_through_a_view(self) -> None:
        self.sends(lambda v: self.chan.sender.send(v, timeout=0))

    @rule()
    def send_by_select(self) -> None:
        self.sends(lambda v: select(send(self.chan, v), timeout=0))

    @rule()
    def send_with_default(self) -> None:
        value = self.fresh()
        if self.closed:
            with pytest.raises(ChannelClosed):
                select(send(self.chan, value), default=True)
            return
        index = select(send(self.chan, value), default=True).index
        assert index == (0 if len(self.model) < self.capacity else -1)
        if index == 0:
            self.model.append(value)

    @rule()
    def recv_timeout_zero(self) -> None:
        self.receives(lambda: self.chan.recv(timeout=0))

    @rule()
    def recv_through_a_view(self) -> None:
        self.receives(lambda: self.chan.receiver.recv(timeout=0))

    @rule()
    def recv_ok_timeout_zero(self) -> None:
        if self.model:
            assert self.chan.recv_ok(timeout=0) == (self.model.popleft(), True)
        elif self.closed:
            assert self.chan.recv_ok(timeout=0) == (None, False)
        else:
            with pytest.raises(TimeoutError):
                self.chan.recv_ok(timeout=0)

    @rule()
    def recv_with_default(self) -> None:
        got = take(self.chan)
        if self.model:
            assert got == self.model.popleft()
        else:
            assert got is (Closed if self.closed else Nothing)

    @precondition(lambda self: not self.closed)
    @rule()
    def send_or_recv(self) -> None:
        value = self.fresh()
        index, got, ok = select(send(self.chan, value), recv(self.chan), default=True)
        ready = {0} if len(self.model) < self.capacity else set()
        if self.model:
            ready.add(1)
        assert index in ready or (not ready and index == -1)
        if index == 0:
            self.model.append(value)
        elif index == 1:
            assert (got, ok) == (self.model.popleft(), True)

    @rule(n=st.integers(1, 8))
    def fill(self, n: int) -> None:
        for _ in range(n):
            self.send_timeout_zero()

    @rule(n=st.integers(1, 8))
    def drain(self, n: int) -> None:
        for _ in range(n):
            self.recv_timeout_zero()

    @precondition(lambda self: self.next > 5)
    @rule()
    def close(self) -> None:
        if self.closed:
            with pytest.raises(ChannelClosed):
                self.chan.close()
        else:
            self.chan.close()
            self.closed = True

    @precondition(lambda self: self.closed)
    @rule()
    def iterate(self) -> None:
        assert list(self.chan) == list(self.model)
        self.model.clear()

    @rule()
    def wrong_type_of_timeout(self) -> None:
        with pytest.raises(ValueError):
            self.chan.recv(timeout=-1)

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "chan"):
            assert len(self.chan) == len(self.model)
            assert self.chan.closed == self.closed
            assert self.chan.capacity == self.capacity
            assert bool(self.chan)


class WaitersMachine(RuleBasedStateMachine):
    """Goroutines wait in line, and are served in the order of their coming."""

    @initialize(capacity=st.integers(0, 3))
    def make(self, capacity: int) -> None:
        self.chan: Chan[Any] = Chan(object, capacity)
        self.capacity, self.next = capacity, 0
        self.buffer: collections.deque[int] = collections.deque()
        self.senders: collections.deque[int] = collections.deque()
        self.receivers: collections.deque[int] = collections.deque()
        self.got: dict[int, Any] = {}
        self.sent: set[int] = set()

    def fresh(self) -> int:
        self.next += 1
        return self.next

    def expect_parked(self) -> None:
        assert eventually(lambda: waiting("chan send") == len(self.senders))
        assert eventually(lambda: waiting("chan receive") == len(self.receivers))

    @precondition(lambda self: not self.receivers and len(self.buffer) == self.capacity)
    @rule()
    def a_sender_comes(self) -> None:
        value = self.fresh()

        def sender() -> None:
            self.chan.send(value)
            self.sent.add(value)

        go(sender)
        self.senders.append(value)
        self.expect_parked()

    @precondition(lambda self: not self.senders and not self.buffer)
    @rule()
    def a_receiver_comes(self) -> None:
        me = self.fresh()

        def receiver() -> None:
            self.got[me] = self.chan.recv_ok()

        go(receiver)
        self.receivers.append(me)
        self.expect_parked()

    @rule()
    def send(self) -> None:
        value = self.fresh()
        if self.receivers:
            self.chan.send(value, timeout=0)
            me = self.receivers.popleft()
            assert eventually(lambda: self.got.get(me) == (value, True))
        elif len(self.buffer) < self.capacity:
            self.chan.send(value, timeout=0)
            self.buffer.append(value)
        else:
            with pytest.raises(TimeoutError):
                self.chan.send(value, timeout=0)
        self.expect_parked()

    @rule()
    def receive(self) -> None:
        if self.buffer:
            assert self.chan.recv(timeout=0) == self.buffer.popleft()
            if self.senders:
                value = self.senders.popleft()
                self.buffer.append(value)
                assert eventually(lambda: value in self.sent)
        elif self.senders:
            value = self.senders.popleft()
            assert self.chan.recv(timeout=0) == value
            assert eventually(lambda: value in self.sent)
        else:
            with pytest.raises(TimeoutError):
                self.chan.recv(timeout=0)
        self.expect_parked()

    @invariant()
    def length(self) -> None:
        if hasattr(self, "chan"):
            assert len(self.chan) == len(self.buffer)

    def teardown(self) -> None:
        if hasattr(self, "chan"):
            # Whoever still waits is ended here; nobody got anything meanwhile.
            run(lambda: None)
            assert self.sent.isdisjoint(self.senders)
            assert not set(self.got) & set(self.receivers)


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}

TestChannel = ChannelMachine.TestCase
TestChannel.settings = settings(max_examples=150, stateful_step_count=60, **COMMON)
TestChannel.pytestmark = [pytest.mark.hang(180)]

TestWaiters = WaitersMachine.TestCase
TestWaiters.settings = settings(max_examples=40, stateful_step_count=25, **COMMON)
TestWaiters.pytestmark = [pytest.mark.hang(180)]
