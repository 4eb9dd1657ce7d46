"""paramiko: an SSH client and server in one process; each request is a command.

All commands are answered after the last one has been accepted.
"""

import pytest
from helpers import needs

from .support import fine


@pytest.mark.hang(120)
def test_commands():
    needs("paramiko")
    fine(
        """
        import many, paramiko, socket, threading
        key = paramiko.ECDSAKey.generate()
        asked = []
        class Server(paramiko.ServerInterface):
            def check_auth_password(self, user, password):
                return paramiko.AUTH_SUCCESSFUL
            def check_channel_request(self, kind, channel_id):
                return paramiko.OPEN_SUCCEEDED
            def check_channel_exec_request(self, channel, command):
                asked.append(many.number(command))
                threading.Thread(target=answer, args=(channel, command)).start()
                return True
        def answer(channel, command):
            together.wait()
            with channel:
                channel.sendall(command)
                channel.send_exit_status(0)
        listener = socket.create_server(("127.0.0.1", 0))
        def connect():
            client = paramiko.Transport(listener.getsockname())
            server = paramiko.Transport(listener.accept()[0])
            server.add_server_key(key)
            server.start_server(threading.Event(), Server())
            client.connect(username="tester", password="")
            return client
        clients = [connect() for _ in range(20)]
        together = threading.Barrier(2 * many.N)
        def ask(i):
            with clients[i % len(clients)].open_session() as session:
                session.exec_command(many.payload(i))
                together.wait()
                with session.makefile() as answer:
                    return many.number(answer.read())
        many.each(ask, few=100)  # encryption leaves the interpreter
        for client in clients:
            client.close()
        assert sorted(asked) == list(range(many.N))
        """
    )
