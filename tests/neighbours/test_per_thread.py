"""What libraries keep per thread, per thread state, per context, or once for the process."""

import pytest
from helpers import needs

from .support import fine


def test_errno_of_ctypes_belongs_to_the_goroutine(procs):
    """ctypes keeps its copy in the thread state's dict. Rule: a thread state for each goroutine."""
    fine(
        """
        import ctypes, errno
        from crowd import each, run, wander
        libc = ctypes.CDLL(None, use_errno=True)
        def main():
            def body(i):
                for k in range(20):
                    ctypes.set_errno(1000 + i)
                    wander(i + k)
                    assert ctypes.get_errno() == 1000 + i
                    if i % 2:
                        assert libc.close(-1) == -1
                        expected = errno.EBADF
                    else:
                        assert libc.chdir(b"/no such folder") == -1
                        expected = errno.ENOENT
                    wander(i + k)
                    assert ctypes.get_errno() == expected
            each(20, body)
        run(main)
        print("fine")
        """,
        procs,
    )


def test_an_oserror_has_its_own_errno(procs):
    """Rule: a goroutine changes its thread in calls of this library only, never by blocking."""
    fine(
        """
        import errno, os, socket
        from crowd import each, run, wander
        def main():
            def body(i):
                for k in range(20):
                    wander(i + k)
                    try:
                        if i % 2:
                            os.read(-1, 1)
                        else:
                            os.open("/no such file", os.O_RDONLY)
                    except OSError as error:
                        wander(i + k)
                        assert error.errno == (errno.EBADF if i % 2 else errno.ENOENT)
            each(20, body)
        run(main)
        print("fine")
        """,
        procs,
    )


def test_tls_handshakes_that_fail(procs):
    """OpenSSL's error queue belongs to the thread, and ssl reads it when a call has failed.

    Rule: a goroutine changes its thread in calls of this library only, so that nobody else is on it
    between the failing call and the reading.
    """
    fine(
        """
        import ssl, time
        from crowd import each, run, wander
        def failure(step):
            for _ in range(4):
                try:
                    step()
                except ssl.SSLWantReadError:
                    wander(1)
                except ssl.SSLError as error:
                    return repr(error)
        def no_shared_version():
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.check_hostname = False
            client.verify_mode = ssl.CERT_NONE
            client.minimum_version = ssl.TLSVersion.TLSv1_3
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.maximum_version = ssl.TLSVersion.TLSv1_2
            a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
            c = client.wrap_bio(a, b)
            s = server.wrap_bio(b, a, server_side=True)
            try:
                c.do_handshake()
            except ssl.SSLWantReadError:
                wander(2)
            return failure(s.do_handshake), failure(c.do_handshake)
        def no_tls_at_all():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
            c = context.wrap_bio(a, b, server_hostname="example.org")
            a.write(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
            return failure(c.do_handshake)
        def no_certificate():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(cadata="no certificate")
            except ssl.SSLError as error:
                return repr(error)
        def pending():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
            c = context.wrap_bio(a, b, server_hostname="example.org")
            return failure(c.do_handshake)
        kinds = [no_shared_version, no_tls_at_all, no_certificate, pending]
        expected = [f() for f in kinds]
        assert len(set(expected)) == 4 and expected[3] is None, expected
        def main():
            def body(i):
                for k in range(8):
                    j = (i + k) % 4
                    wander(i + k)
                    got = kinds[j]()
                    assert got == expected[j], (got, expected[j])
            each(20, body)
        run(main)
        print("fine")
        """,
        procs,
    )


def test_numpy_s_errstate(procs):
    """Rule: a context (contextvars), or before numpy 2 a thread state, for each goroutine."""
    needs("numpy")
    fine(
        """
        import numpy as np
        from crowd import each, run, wander
        def main():
            zero, one = np.zeros(3), np.ones(3)
            def body(i):
                for k in range(10):
                    mode = ["raise", "ignore", "call"][(i + k) % 3]
                    calls = []
                    with np.errstate(divide=mode, call=lambda *args: calls.append(args)):
                        wander(i + k)
                        assert np.geterr()["divide"] == mode
                        try:
                            one / zero
                            raised = False
                        except FloatingPointError:
                            raised = True
                        assert raised == (mode == "raise") and bool(calls) == (mode == "call")
                        wander(i + k)
                        assert np.geterr()["divide"] == mode
                    assert np.geterr()["divide"] == "warn"
            each(20, body)
        run(main)
        print("fine")
        """,
        procs,
    )


def test_numpy_calls_back(procs):
    """Rule: `foreign_on_stack` in foreign.c: who waits below numpy keeps the thread."""
    needs("numpy")
    fine(
        """
        import threading
        import numpy as np
        from crowd import each, run, wander
        def main():
            def body(i):
                def f(x):
                    thread = threading.get_native_id()
                    wander(i)
                    assert threading.get_native_id() == thread
                    return x + i
                got = np.frompyfunc(f, 1, 1)(np.arange(5)).astype(int)
                more = np.fromiter((f(x) for x in range(5)), dtype=int)
                rows = np.apply_along_axis(lambda r: r + f(0), 0, np.zeros((2, 3)))
                expected = [x + i for x in range(5)]
                return got.tolist() == more.tolist() == expected and (rows == i).all()
            assert all(each(20, body))
        run(main)
        print("fine")
        """,
        procs,
    )


def test_the_locale_belongs_to_the_process(procs):
    """As with threads: whoever sets it sets it for all. What is documented is what happens."""
    fine(
        """
        import locale
        import goroutines as G
        from crowd import run, wander
        def main():
            locale.setlocale(locale.LC_ALL, "C")
            done = G.Chan()
            def sets():
                locale.setlocale(locale.LC_ALL, "C.UTF-8")
                wander(1)
                done.send(None)
            G.go(sets)
            done.recv()
            assert locale.setlocale(locale.LC_CTYPE) == "C.UTF-8"
        run(main)
        print("fine")
        """,
        procs,
    )


@pytest.mark.parametrize("module", ["decimal", "_pydecimal"])
def test_the_decimal_context_belongs_to_the_goroutine(module, procs):
    fine(
        f"""
        from {module} import Decimal, getcontext, localcontext
        from crowd import each, run, wander
        def main():
            def body(i):
                getcontext().prec = 3 + i
                for k in range(10):
                    wander(i + k)
                    assert len(str(Decimal(1) / 3)) == 5 + i
                    with localcontext(prec=2):
                        wander(k)
                        assert str(Decimal(1) / 3) == "0.33"
            each(15, body)
            assert getcontext().prec == 28
        run(main)
        print("fine")
        """,
        procs,
    )
