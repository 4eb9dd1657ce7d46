"""redis-py and a Redis server."""

import pytest
from helpers import needs

from .support import fine

pytestmark = pytest.mark.hang(120)


def test_a_connection_each_that_waits(redis_port):
    needs("redis")
    fine(
        f"""
        import many, redis, threading, time
        client = redis.Redis("127.0.0.1", {redis_port}, max_connections=many.N + 1)
        def ask(i):
            key, value = client.blpop(f"waits {{i}}", 60)
            return int(value)
        def answer():
            while client.info("clients")["blocked_clients"] < many.N:
                time.sleep(0.01)
            for i in range(many.N):
                client.rpush(f"waits {{i}}", i)
        threading.Thread(target=answer, daemon=True).start()
        many.each(ask)
        """
    )


def test_a_pool_with_a_limit(redis_port):
    needs("redis")
    fine(
        f"""
        import many, redis
        pool = redis.BlockingConnectionPool(
            host="127.0.0.1", port={redis_port}, max_connections=20, timeout=60
        )
        client = redis.Redis(connection_pool=pool)
        client.delete("asked")
        def ask(i):
            with client.pipeline() as p:
                p.set(f"pool {{i}}", many.payload(i)).get(f"pool {{i}}").incr("asked")
                return many.number(p.execute()[1])
        many.each(ask)
        assert int(client.get("asked")) == many.N
        """
    )


def test_subscribers(redis_port):
    needs("redis")
    fine(
        f"""
        import many, redis, threading
        client = redis.Redis("127.0.0.1", {redis_port}, max_connections=many.N + 1)
        subscribed = threading.Barrier(many.N + 1)
        def ask(i):
            with client.pubsub(ignore_subscribe_messages=True) as messages:
                messages.subscribe(f"channel {{i}}")
                messages.get_message(timeout=60)  # that it is subscribed
                subscribed.wait()
                return int(next(messages.listen())["data"])
        def publish():
            subscribed.wait()
            for i in range(many.N):
                assert client.publish(f"channel {{i}}", i) == 1
        threading.Thread(target=publish, daemon=True).start()
        many.each(ask)
        """
    )
