"""HTTP clients and a server of the standard library in one process."""

import pytest
from helpers import needs

from .support import REQUESTS, fine

pytestmark = pytest.mark.hang(120)

# ask(data) returns the answer's body; a pool has no more than so many connections.
CLIENTS = {
    "http.client": """
        import http.client
        from contextlib import closing
        from urllib.parse import urlsplit
        where = urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        def ask(data):
            with closing(kinds[where.scheme](where.netloc)) as connection:
                connection.request("POST", "/", data)
                return connection.getresponse().read()
        """,
    "urllib.request": """
        from urllib.request import build_opener
        opener = build_opener()
        def ask(data):
            with opener.open(url, data) as response:
                return response.read()
        """,
    "urllib3": """
        import urllib3
        pool = urllib3.PoolManager(maxsize=connections, block=True)
        def ask(data):
            return pool.request("POST", url, body=data).data
        """,
    "requests": """
        import requests
        from requests.adapters import HTTPAdapter
        session = requests.Session()
        session.mount("http", HTTPAdapter(pool_maxsize=connections, pool_block=True))
        def ask(data):
            return session.post(url, data).content
        """,
    "httpx": """
        import httpx, ssl
        class Context(ssl.SSLContext):
            # httpcore sets them for each connection, and nobody must shake hands meanwhile.
            protocols = None
            def set_alpn_protocols(self, protocols):
                if protocols != self.protocols:
                    super().set_alpn_protocols(protocols)
                    self.protocols = protocols
        context = Context(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        limits = httpx.Limits(max_connections=connections)
        client = httpx.Client(verify=context, limits=limits, timeout=90)
        def ask(data):
            return client.post(url, content=data).content
        """,
}


def run(client: str, scheme: str = "http", connections: int = REQUESTS, together: int = 1) -> None:
    if "." not in client:
        needs(client)
    few = 20 if scheme == "http" else REQUESTS  # a key exchange leaves the interpreter
    fine(
        f"""
        import many, web
        url, connections = web.serve({scheme!r}, {together}), {connections}
{CLIENTS[client]}
        many.each(lambda i: many.number(ask(many.payload(i))), few={few})
        assert sorted(web.asked) == list(range(many.N))
        """
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", CLIENTS)
def test_all_at_once(client, scheme):
    run(client, scheme, together=REQUESTS)


@pytest.mark.parametrize("client", ["urllib3", "requests"])
def test_a_pool_with_a_limit(client):
    """Not httpx: httpcore 1.0 closes connections that others have just been given."""
    run(client, connections=50)
