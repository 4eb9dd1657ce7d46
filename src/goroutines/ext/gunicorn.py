"""A gunicorn worker in which each connection has a goroutine.

    gunicorn -k goroutines.ext.gunicorn.GoroutineWorker app:application

The worker process is patched (goroutines.patch.all) before the application is loaded, and all of it
runs in the main goroutine's program. gunicorn's options mean what they mean to its gevent worker;
worker_connections is the number of connections served at a time, and keepalive limits each wait
for more of a request. On SIGTERM, and on a reload, no new connection is taken, requests under way
are finished within graceful_timeout, and idle connections are closed.
"""

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gunicorn.sock import ssl_wrap_socket
from gunicorn.workers.base_async import AsyncWorker

from .. import Chan, ChannelClosed, GoroutineExit, go, patch, run, sleep, wait_readable
from ..sync import Semaphore

_BEAT = 1.0  # seconds between two signs of life to the arbiter
_PAUSE = 0.1  # seconds until the next try, when no connection could be accepted


class _Name:
    """A listener, for those who only want its name: it may be closed by now."""

    def __init__(self, listener: Any) -> None:
        self._name = listener.getsockname()

    def getsockname(self) -> Any:
        return self._name


class _Connection:
    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.served = 0  # requests
        self.idle = False  # between two of them

    def close_if_idle(self) -> None:
        if self.idle:
            self.idle = False
            with suppress(OSError):
                self.client.shutdown(socket.SHUT_RD)  # who reads sees its end


class GoroutineWorker(AsyncWorker):
    """One goroutine a connection; see the module."""

    def init_process(self) -> None:
        self._stopping: Chan[None] = Chan()
        self._accepting: set[Any] = set()  # listeners
        self._connections: set[_Connection] = set()
        self._here = threading.local()
        patch.all()
        run(super().init_process)

    def run(self) -> None:
        room = Semaphore(self.worker_connections)
        for listener in self.sockets:
            self._accepting.add(listener)
            go(self._accept, listener, room)
        while self.alive:
            self.notify()
            if self.ppid != os.getppid():
                self.log.info("Parent changed, shutting down: %s", self)
                return
            with suppress(TimeoutError, ChannelClosed):
                self._stopping.recv(timeout=_BEAT)
        for listener in self.sockets:
            listener.close()
        self._finish(self.cfg.graceful_timeout)

    def _finish(self, seconds: float) -> None:
        """Wait for the requests under way; whoever is left ends with run().

        Who accepts may have a connection in hand that is not among them yet.
        """
        while (self._accepting or self._connections) and seconds > 0:
            for connection in list(self._connections):
                connection.close_if_idle()
            self.notify()
            sleep(_PAUSE)
            seconds -= _PAUSE
        if self._connections:
            self.log.warning("Worker graceful timeout (pid:%s)", self.pid)

    # ---- connections ----

    def _accept(self, listener: Any, room: Semaphore) -> None:
        try:
            self._accept_all(listener, room)
        finally:
            self._accepting.discard(listener)

    def _accept_all(self, listener: Any, room: Semaphore) -> None:
        sock, name = listener.sock, _Name(listener)
        # Other processes accept from it, too: one that comes late is not to wait in accept().
        sock.setblocking(False)
        while self.alive:
            room.acquire()
            try:
                wait_readable(sock)
                client, address = sock.accept()
            except OSError as failed:
                room.release()
                if failed.errno == errno.EBADF or not self.alive:
                    return
                if not isinstance(failed, (BlockingIOError, ConnectionAbortedError)):
                    self.log.warning("No connection could be accepted: %s", failed)
                    sleep(_PAUSE)
            except ValueError:  # closed
                return
            else:
                connection = _Connection(client)
                self._connections.add(connection)
                go(self._serve, name, connection, address, room)

    def _serve(self, name: _Name, connection: _Connection, address: Any, room: Semaphore) -> None:
        self._here.connection = connection
        try:
            connection.client.setblocking(True)
            if self.cfg.is_ssl:
                connection.client = ssl_wrap_socket(connection.client, self.cfg)
            self.handle(name, connection.client, address)
        except GoroutineExit:
            pass
        except OSError as failed:
            self.log.debug("Connection lost before its first request: %s", failed)
        finally:
            connection.client.close()
            self._connections.discard(connection)
            room.release()

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Around the wait for a request; one that does not come ends the connection."""
        connection: _Connection = self._here.connection
        connection.idle = connection.served > 0
        connection.client.settimeout(self.cfg.keepalive)
        try:
            with suppress(TimeoutError):
                yield
        finally:
            connection.idle = False
            connection.client.settimeout(None)

    def handle_request(self, *args: Any) -> Any:
        self._here.connection.served += 1
        try:
            return super().handle_request(*args)
        except GoroutineExit:
            raise StopIteration from None  # the connection is closed without a word

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        if not isinstance(exc, GoroutineExit):
            super().handle_error(req, client, addr, exc)

    # ---- signals: the handlers run on the main thread ----

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.alive:
            super().handle_exit(sig, frame)
            self._stopping.close()

    def handle_usr1(self, sig: int, frame: Any) -> None:
        go(super().handle_usr1, sig, frame)
