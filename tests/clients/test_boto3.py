"""boto3 and a server that keeps objects as S3 does."""

import pytest
from helpers import needs

from .support import fine


@pytest.mark.hang(120)
def test_put_and_get():
    needs("boto3")
    fine(
        """
        import boto3, many, threading, web
        from botocore.config import Config
        from http.server import BaseHTTPRequestHandler
        objects = {}
        class S3(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_PUT(self):
                assert self.path not in objects
                objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(b"")
            def do_GET(self):
                self.answer(objects[self.path])
            def answer(self, body):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *args):
                pass
        server = web.Server(("127.0.0.1", 0), S3)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = boto3.client(
            "s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:%d" % server.server_port,
            aws_access_key_id="id", aws_secret_access_key="key",
            config=Config(
                max_pool_connections=50, retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
            ),
        )
        def ask(i):
            client.put_object(Bucket="numbers", Key=str(i), Body=many.payload(i))
            return many.number(client.get_object(Bucket="numbers", Key=str(i))["Body"].read())
        many.each(ask, limit=50)
        assert len(objects) == many.N
        """
    )
