"""Flask on werkzeug's threaded server and on gunicorn."""

import sys

import pytest
from helpers import needs

from .servers import free_port, listens, running
from .support import REQUESTS, UNDER, fine

APP = f"""
import os, threading
from flask import Flask, request
from werkzeug.serving import BaseWSGIServer

BaseWSGIServer.request_queue_size = 1024  # Linux resets some connections of a longer queue
app = Flask(__name__)
together = threading.Barrier({REQUESTS})

@app.post("/")
def echo():
    data = request.get_data()
    together.wait()
    return data, {{"Threads": str(len(os.listdir("/proc/self/task")))}}
"""
COMMANDS = {
    "flask": [*UNDER, "-m", "flask", "--app=app", "run", "-p"],
    "gunicorn": [
        *("-m", "gunicorn", "-k", "goroutines.ext.gunicorn.GoroutineWorker"),
        *("--worker-connections=2000", "app:app", "-b"),
    ],
}


@pytest.mark.hang(120)
@pytest.mark.parametrize("server", COMMANDS)
def test_all_at_once(server, tmp_path):
    needs("flask", server)
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    command = [sys.executable, *COMMANDS[server]]
    where = f"127.0.0.1:{port}" if server == "gunicorn" else port
    with running(*command, where, until=lambda: listens(port), folder=tmp_path):
        fine(
            f"""
            import http.client, many
            from contextlib import closing
            def ask(i):
                with closing(http.client.HTTPConnection("127.0.0.1", {port})) as connection:
                    connection.request("POST", "/", many.payload(i))
                    response = connection.getresponse()
                    many.check_threads(int(response.headers["Threads"]))
                    return many.number(response.read())
            many.each(ask)
            """
        )
