"""websockets: its threaded client and server in one process, four threads for a connection."""

import pytest
from helpers import needs

from .support import fine


@pytest.mark.hang(120)
def test_all_at_once():
    needs("websockets")
    fine(
        """
        import many, threading
        from websockets.sync.client import connect
        from websockets.sync.server import serve
        together = threading.Barrier(many.N)
        asked = []
        def echo(connection):
            for message in connection:
                asked.append(many.number(message))
                together.wait()
                connection.send(message)
        def ask(i):
            with connect(url, open_timeout=60, close_timeout=60, proxy=None) as connection:
                connection.send(many.payload(i))
                return many.number(connection.recv())
        with serve(echo, "127.0.0.1", 0, open_timeout=60, close_timeout=60) as server:
            url = "ws://127.0.0.1:%d/" % server.socket.getsockname()[1]
            threading.Thread(target=server.serve_forever).start()
            many.each(ask, few=40)  # os.urandom leaves the interpreter
        assert sorted(asked) == list(range(many.N))
        """
    )
