"""200 threads block in `time.sleep`, 5 ms at a time. How late is another one that wants to run
every millisecond?
"""

import time
from threading import Thread

from measure import ARGUMENTS, show_percentiles

BLOCKED = 200
PERIOD = 0.001


def block() -> None:
    while True:
        time.sleep(0.005)


def main() -> None:
    for _ in range(BLOCKED):
        Thread(target=block, daemon=True).start()
    lateness = []
    for _ in range(ARGUMENTS[0]):
        due = time.monotonic() + PERIOD
        time.sleep(PERIOD)
        lateness.append(time.monotonic() - due)
    show_percentiles("late beside 200 blocked", lateness)


if __name__ == "__main__":
    main()
