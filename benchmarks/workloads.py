"""What is measured: the programs, their sizes, and the peers.

A workload is one program, written once for each peer that has the like. Sizes differ, as a peer
may be a thousand times slower than another one; what is compared is the cost of one operation.
"""

from dataclasses import dataclass

GOROUTINES, ALL_PS, GO = "goroutines", "all Ps", "Go"
PEERS = [GOROUTINES, ALL_PS, GO, "gevent", "asyncio", "uvloop", "trio", "threads"]
# These take part in every repetition, the others in every third.
ALWAYS = {GOROUTINES, ALL_PS, GO}
FOLDER = {ALL_PS: "goroutines", "uvloop": "asyncio"}
# The module that must be there, where it is not of the standard library.
MODULE = {"gevent": "gevent", "uvloop": "uvloop", "trio": "trio"}
# Peers without an entry of their own use that of SLOW.
SLOW = "slow"
# What asks the servers, a program in Go.
LOAD = "load"


@dataclass(frozen=True)
class Workload:
    program: str
    # What the program prints: the rows, explained in rows.md.
    what: list[str]
    # Arguments by peer; None: the peer has no such thing. QUICK=1 divides the first one.
    sizes: dict[str, list[int] | None]
    procs: int = 1
    quick: int = 3
    long: bool = False  # once in a run, and not at all with QUICK=1
    all_ps: bool = True  # also with as many Ps as there are processors
    server: bool = False  # what prints, and has the arguments, is the load


def sizes(
    fast: int, slow: int, threads: int | None = None, extra: tuple[int, ...] = ()
) -> dict[str, list[int] | None]:
    """For goroutines and Go, for event loops, and for threads (None: has no such thing)."""
    return {
        GOROUTINES: [fast, *extra],
        GO: [fast, *extra],
        SLOW: [slow, *extra],
        "threads": [threads, *extra] if threads else None,
    }


def only(arguments: list[int], *peers: str) -> dict[str, list[int] | None]:
    return {SLOW: None} | dict.fromkeys(peers, arguments)


WORKLOADS = [
    Workload(
        "pingpong",
        ["round trip"],
        sizes(500_000, 30_000, 10_000),
    ),
    Workload(
        "buffered",
        ["buffered"],
        sizes(1_000_000, 100_000, 30_000),
    ),
    Workload(
        "iterated",
        ["buffered, iterated"],
        sizes(1_000_000, 100_000) | {"asyncio": None, "uvloop": None},
    ),
    Workload(
        "spawn",
        ["spawn"],
        sizes(500_000, 30_000, 2_000),
    ),
    Workload(
        "select4",
        ["select of 4"],
        sizes(300_000, 10_000) | {"gevent": None, "trio": None},
    ),
    Workload(
        "yielding",
        ["yield"],
        sizes(1_000_000, 50_000, 50_000),
    ),
    Workload(
        "chained_spawn",
        ["chained spawn"],
        sizes(300_000, 20_000, 2_000),
    ),
    Workload(
        "ping_pong_many",
        ["ping pong many"],
        sizes(90_000, 12_000, 3_000),
    ),
    Workload(
        "spawn_many",
        ["spawn many"],
        sizes(300_000, 12_000, 3_000),
    ),
    Workload(
        "yield_many",
        ["yield many"],
        sizes(1_000_000, 50_000, 50_000),
    ),
    Workload(
        "ring",
        ["ring of 503"],
        sizes(500_000, 50_000, 5_000),
    ),
    Workload(
        "sieve",
        ["sieve of 300 primes"],
        {SLOW: [300]},
        quick=1,
    ),
    Workload(
        "daisy",
        ["daisy chain"],
        sizes(100_000, 10_000, 1_000),
    ),
    Workload(
        "skynet",
        ["skynet"],
        sizes(1_000_000, 10_000, 100),
        quick=10,
    ),
    Workload(
        "mutex",
        ["mutex"],
        sizes(1_000_000, 100_000, 1_000_000),
    ),
    Workload(
        "mutex_contended",
        ["contended mutex"],
        sizes(300_000, 30_000, 30_000),
    ),
    Workload(
        "wait_group",
        ["wait group"],
        sizes(300_000, 30_000, 3_000),
    ),
    Workload(
        "cancel",
        ["cancel"],
        sizes(10_000, 10_000),
        quick=1,
    ),
    *[
        Workload(
            "producers",
            [f"{p} producers"],
            sizes(300_000, 20_000, 5_000, extra=(p,)),
        )
        for p in (1, 10, 100, 1000)
    ],
    Workload(
        "parked",
        [
            "park, fresh stack",
            "wake and end",
            "park, used stack",
            "wake and end again",
            "parked",
            "parked, page tables",
            "parked, cgroup",
        ],
        sizes(100_000, 20_000, 1_000),
        quick=1,
    ),
    Workload(
        "blocking",
        ["late beside 200 blocked, median", "late beside 200 blocked, p99"],
        sizes(1000, 3, 1000),
    ),
    Workload(
        "hogs",
        [
            "late beside 4 that compute, median",
            "late beside 4 that compute, p99",
            "shares of 4 that compute",
        ],
        only([1000], GOROUTINES, GO, "threads"),
    ),
    *[
        Workload(
            "sha256",
            [f"SHA-256 of 1 MiB, {p} Ps"],
            {SLOW: [200]},
            procs=p,
            all_ps=False,
        )
        for p in (1, 2)
    ],
    *[
        Workload(
            program,
            [f"{name}, {n} connections{what}" for what in ("", ", median", ", p99", *more)],
            {SLOW: [2000, n]} | ({"threads": None} if n > 1000 else {}),
            quick=10,
            all_ps=False,
            server=True,
            long=n > 100,
        )
        for program, name in [("echo", "echo"), ("http_server", "HTTP")]
        for n, more in [
            (100, []),
            (1000, []),
            (10_000, [", memory", ", memory, page tables", ", lost"]),
        ]
    ],
    Workload(
        "startup",
        ["import and first go"],
        {SLOW: [], GO: None},
        quick=1,
        all_ps=False,
    ),
    Workload(
        "resting",
        ["CPU at rest"],
        sizes(100_000, 100_000, extra=(1000,)),
        quick=1,
        all_ps=False,
        long=True,
    ),
]

# The chart: cost of one pass against the size of the ring, up to each peer's last entry.
RING_SIZES = [10, 100, 1_000, 10_000, 100_000, 1_000_000]
RING_UP_TO = {GOROUTINES: 1_000_000, GO: 1_000_000, "threads": 1_000, SLOW: 100_000}
RING_UP_TO_QUICK = {GOROUTINES: 100_000, GO: 100_000, "threads": 1_000, SLOW: 10_000}
RING_PASSES = {GOROUTINES: 300_000, GO: 300_000, "threads": 3_000, SLOW: 20_000}

MILLION = " (of 1,000,000)"
MILLION_WORKLOAD = Workload(
    "parked",
    ["park, fresh stack", "wake and end", "parked", "parked, page tables", "parked, cgroup"],
    {SLOW: [1_000_000], "threads": None, "trio": None},
    all_ps=False,
    long=True,
)
