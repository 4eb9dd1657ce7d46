"""200 greenlets block in `time.sleep`, which nothing has patched, 5 ms at a time. How late is
another one that wants to run every millisecond?
"""

import time

import gevent
from measure import ARGUMENTS, show_percentiles

BLOCKED = 200
PERIOD = 0.001


def block() -> None:
    while True:
        time.sleep(0.005)
        gevent.sleep(0)


def main() -> None:
    for _ in range(BLOCKED):
        gevent.spawn(block)
    lateness = []
    for _ in range(ARGUMENTS[0]):
        due = time.monotonic() + PERIOD
        gevent.sleep(PERIOD)
        lateness.append(time.monotonic() - due)
    show_percentiles("late beside 200 blocked", lateness)


if __name__ == "__main__":
    main()
