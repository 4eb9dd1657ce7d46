"""HTTP clients and a server of the standard library in one process."""

import pytest
from helpers import needs

from .support import fine

# ask(data) returns the answer's body.
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
        pool = urllib3.PoolManager(maxsize=many.N)
        def ask(data):
            return pool.request("POST", url, body=data).data
        """,
    "requests": """
        import requests
        session = requests.Session()
        def ask(data):
            return session.post(url, data).content
        """,
    "httpx": """
        import httpx
        client = httpx.Client(limits=httpx.Limits(max_connections=None), timeout=60)
        def ask(data):
            return client.post(url, content=data).content
        """,
}


@pytest.mark.hang(120)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", CLIENTS)
def test_all_at_once(client, scheme):
    if "." not in client:
        needs(client)
    few = 20 if scheme == "http" else 100  # a key exchange leaves the interpreter
    fine(
        f"""
        import many, web
        url = web.serve({scheme!r}, many.N)
{CLIENTS[client]}
        many.each(lambda i: many.number(ask(many.payload(i))), few={few})
        assert sorted(web.asked) == list(range(many.N))
        """
    )
