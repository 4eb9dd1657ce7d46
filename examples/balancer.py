"""Rob Pike's load balancer ("Concurrency is not Parallelism", 2012).

Requesters ask for work to be done; a request carries the channel on which its answer is wanted.
The balancer gives each request to the worker that has the fewest in hand, and hears from the
workers when they have finished one. The answer goes from the worker straight to the requester.
No locks: only the balancer touches the heap, because only the balancer can reach it.

    requesters --work--> balancer --requests--> least loaded worker --done--> balancer
         ^------------------------ reply -------------'

    $ python balancer.py
    worker 0 did 125, worker 1 did 125, ..., worker 7 did 125; never more than 13 in hand
    1000 answers, their sum is 333833500
"""

import argparse
import heapq
import sys
from collections.abc import Callable
from typing import NamedTuple

from goroutines import Chan, RecvChan, SendChan, go, recv, run, select, sleep


class Request(NamedTuple):
    work: Callable[[], int]
    reply: SendChan[int]


class Worker:
    def __init__(self, number: int, room: int) -> None:
        self.number = number
        # As many requests as there can be, so that the balancer never waits for a worker that
        # waits for the balancer.
        self.requests = Chan(Request, room)
        self.pending = self.most = self.finished = 0

    def __lt__(self, other: "Worker") -> bool:
        return self.pending < other.pending

    def run(self, done: "SendChan[Worker]") -> None:
        for request in self.requests:
            request.reply.send(request.work())
            done.send(self)


def balance(work: RecvChan[Request], done: RecvChan[Worker], pool: list[Worker]) -> None:
    """Serve until `work` is closed and every request that was given out is finished."""
    is_open = True
    while is_open or any(worker.pending for worker in pool):
        match select(recv(work if is_open else None), recv(done)):
            case 0, _, False:
                is_open = False
            case 0, Request() as request, _:
                worker = heapq.heappop(pool)
                worker.requests.send(request)
                worker.pending += 1
                worker.most = max(worker.most, worker.pending)
                heapq.heappush(pool, worker)
            case 1, Worker() as worker, _:
                worker.pending -= 1
                worker.finished += 1
                heapq.heapify(pool)  # its key has changed; for a handful of workers this will do


def request(
    numbers: range, work: SendChan[Request], answers: SendChan[int], finished: SendChan[bool]
) -> None:
    reply = Chan(int)
    for number in numbers:

        def square(number: int = number) -> int:
            sleep(0.0005)  # pretend that this is hard
            return number * number

        work.send(Request(square, reply.sender))
        answers.send(reply.recv())
    finished.send(True)


def main(requesters: int, workers: int, count: int) -> None:
    work, done = Chan(Request), Chan(Worker)
    pool = [Worker(number, requesters) for number in range(workers)]
    for worker in pool:
        go(worker.run, done.sender)

    answers, finished = Chan(int, count), Chan(bool)
    for first in range(requesters):
        numbers = range(first + 1, count + 1, requesters)
        go(request, numbers, work.sender, answers.sender, finished.sender)

    @go
    def close_work() -> None:
        for _ in range(requesters):
            finished.recv()
        work.close()

    balance(work.receiver, done.receiver, pool)
    answers.close()
    pool.sort(key=lambda worker: worker.number)
    shares = ", ".join(f"worker {worker.number} did {worker.finished}" for worker in pool)
    print(f"{shares}; never more than {max(worker.most for worker in pool)} in hand")
    squares = list(answers)
    print(f"{len(squares)} answers, their sum is {sum(squares)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="requests to the least loaded of some workers")
    parser.add_argument("--requesters", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=1000, help="default: %(default)s")
    args = parser.parse_args()
    if min(args.requesters, args.workers, args.requests) < 1:
        parser.error("every number must be at least 1")
    try:
        run(main, args.requesters, args.workers, args.requests)
    except KeyboardInterrupt:
        sys.exit(130)
