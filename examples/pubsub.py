"""Publish and subscribe: one hub, any number of subscribers, each with a context of its own.

The hub is a goroutine, and only it knows who has subscribed: subscribing, unsubscribing and
publishing are messages to it, so there is no lock. A subscriber's context ends its subscription:
the hub is told by after_func(), and no goroutine has to wait for that. The hub waits for nobody: a
subscriber whose buffer is full misses the message, and the hub counts what it has missed.

    publish --message--> hub --message--> [subscriber] [subscriber] ...
    a context ends --leave--> hub

    $ python pubsub.py --subscribers 3 --messages 1000
    3 subscribers got 1000 messages each
    one that left got 10 and no more; one that slept got 16 and missed 984
"""

import argparse
import sys
from typing import NamedTuple

from goroutines import Chan, Group, recv, run, select, send
from goroutines.context import CancelContext, Context, after_func, with_cancel


class Message(NamedTuple):
    topic: str
    body: int


class Subscription:
    """`messages` is closed when the subscription ends."""

    def __init__(self, topic: str, room: int) -> None:
        self.topic = topic
        self.messages = Chan(int, room)
        self.missed = 0


class Hub:
    """Serves until its context ends, and ends all subscriptions then."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._joining, self._leaving = Chan(Subscription), Chan(Subscription)
        self._published = Chan(Message)

    def serve(self) -> None:
        subscriptions: list[Subscription] = []
        while True:
            match select(
                recv(self._joining),
                recv(self._leaving),
                recv(self._published),
                recv(self._ctx.done()),
            ):
                case 0, Subscription() as new, _:
                    subscriptions.append(new)
                case 1, Subscription() as old, _:
                    subscriptions.remove(old)
                    old.messages.close()
                case 2, Message() as message, _:
                    self._deliver(message, subscriptions)
                case _:
                    for subscription in subscriptions:
                        subscription.messages.close()
                    return

    def _deliver(self, message: Message, subscriptions: list[Subscription]) -> None:
        for subscription in subscriptions:
            if subscription.topic == message.topic:
                offered = select(send(subscription.messages, message.body), default=True)
                subscription.missed += offered.index < 0

    def subscribe(self, ctx: Context, topic: str, room: int) -> Subscription:
        """The messages on that topic from now on, until ctx ends, or the hub."""
        subscription = Subscription(topic, room)
        select(send(self._joining, subscription), recv(self._ctx.done()))
        after_func(ctx, lambda: select(send(self._leaving, subscription), recv(self._ctx.done())))
        return subscription

    def publish(self, topic: str, body: int) -> None:
        select(send(self._published, Message(topic, body)), recv(self._ctx.done()))


def read_all(subscription: Subscription) -> int:
    return sum(1 for _ in subscription.messages)


def read_some(subscription: Subscription, ctx: CancelContext, enough: int) -> int:
    """Leaves after that many, and reads on until the hub has noticed."""
    received = 0
    for _ in subscription.messages:
        received += 1
        if received == enough:
            ctx.cancel()
    return received


def main(subscribers: int, messages: int) -> None:
    with Group() as g:
        hub = Hub(g.context)
        g.go(hub.serve)
        with with_cancel(g.context) as others, with_cancel(g.context) as leaver:
            loyal = [hub.subscribe(others, "news", messages) for _ in range(subscribers)]
            fickle = hub.subscribe(leaver, "news", messages)
            sleeper = hub.subscribe(others, "news", 16)
            with Group(g.context) as readers:
                counts = [readers.go(read_all, subscription) for subscription in loyal]
                some = readers.go(read_some, fickle, leaver, 10)
                for number in range(10):
                    hub.publish("news", number)
                    hub.publish("weather", number)
                some.value()  # it has left
                for number in range(10, messages):
                    hub.publish("news", number)
                others.cancel()
            slept = read_all(sleeper)
        g.context.cancel()
    received = {count.value() for count in counts}
    print(f"{subscribers} subscribers got {', '.join(map(str, received))} messages each")
    print(
        f"one that left got {some.value()} and no more; "
        f"one that slept got {slept} and missed {sleeper.missed}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="messages for those who want them")
    parser.add_argument("--subscribers", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--messages", type=int, default=1000, help="default: %(default)s")
    args = parser.parse_args()
    if args.subscribers < 1 or args.messages < 10:
        parser.error("at least 1 subscriber and 10 messages")
    try:
        run(main, args.subscribers, args.messages)
    except KeyboardInterrupt:
        sys.exit(130)
