"""Four goroutines compute without a pause. How late is another one that wants to run every
millisecond, and how evenly do the four share (the least share as a part of the greatest)?
"""

import time

from goroutines import Chan, go, run, sleep
from measure import ARGUMENTS, compute_until, show, show_percentiles

HOGS = 4
PERIOD = 0.001


def hog(end: float, turns: Chan[int]) -> None:
    turns.send(compute_until(end))


def main() -> None:
    end = time.monotonic() + ARGUMENTS[0] / 1000
    turns = Chan(int, HOGS)
    for _ in range(HOGS):
        go(hog, end, turns)
    lateness: list[float] = []
    while not lateness or time.monotonic() < end:
        due = time.monotonic() + PERIOD
        sleep(PERIOD)
        lateness.append(time.monotonic() - due)
    shares = [turns.recv() for _ in range(HOGS)]
    show_percentiles("late beside 4 that compute", lateness)
    show("shares of 4 that compute", "percent", 100 * min(shares) / max(shares))


if __name__ == "__main__":
    run(main)
