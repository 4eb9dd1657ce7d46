"""N greenlets that wait are killed, and end: one greenlet."""

import gevent
from gevent.event import Event
from measure import ARGUMENTS, timed, warm_up


def start(n: int) -> list[gevent.Greenlet]:
    never = Event()
    greenlets = [gevent.spawn(never.wait) for _ in range(n)]
    gevent.sleep(0)
    return greenlets


def main() -> None:
    n = ARGUMENTS[0]
    few, many = start(warm_up(n)), start(n)
    gevent.killall(few)
    with timed("cancel", n):
        gevent.killall(many)


if __name__ == "__main__":
    main()
