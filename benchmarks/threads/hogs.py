"""Four threads compute without a pause. How late is another one that wants to run every
millisecond, and how evenly do the four share (the least share as a part of the greatest)?
"""

import time
from queue import SimpleQueue
from threading import Thread

from measure import ARGUMENTS, compute_until, show, show_percentiles

HOGS = 4
PERIOD = 0.001


def hog(end: float, turns: SimpleQueue[int]) -> None:
    turns.put(compute_until(end))


def main() -> None:
    end = time.monotonic() + ARGUMENTS[0] / 1000
    turns = SimpleQueue[int]()
    for _ in range(HOGS):
        Thread(target=hog, args=(end, turns)).start()
    lateness: list[float] = []
    while not lateness or time.monotonic() < end:
        due = time.monotonic() + PERIOD
        time.sleep(PERIOD)
        lateness.append(time.monotonic() - due)
    shares = [turns.get() for _ in range(HOGS)]
    show_percentiles("late beside 4 that compute", lateness)
    show("shares of 4 that compute", "percent", 100 * min(shares) / max(shares))


if __name__ == "__main__":
    main()
