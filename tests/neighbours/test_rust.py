"""PyO3, by way of pydantic-core.

Rule: `foreign_on_stack` in foreign.c. PyO3 counts the calls under way on a thread. Compiled, it
adds and subtracts one at the same address, that of the thread on which the call began. If that
thread ends meanwhile, memory is written that is no longer its own.
"""

from helpers import needs

from .support import fine

VALIDATORS = """
import threading, time
import goroutines as G
from pydantic_core import SchemaValidator, ValidationError, core_schema as cs
from crowd import each, run, wander
"""


def test_validators_that_wait(procs):
    needs("pydantic_core")
    fine(
        VALIDATORS
        + """
def main():
    def validate(x):
        thread = threading.get_native_id()
        wander(x)
        assert threading.get_native_id() == thread
        if x == 13:
            raise ValueError("thirteen")
        return x + 1
    v = SchemaValidator(cs.list_schema(cs.no_info_plain_validator_function(validate)))
    def body(i):
        for k in range(14, 20):
            assert v.validate_python([20 + i, k]) == [21 + i, k + 1]
            wander(i)
        try:
            v.validate_python([13])
        except ValidationError as error:
            assert "thirteen" in str(error)
    each(20, body)
run(main)
print("fine")
""",
        procs,
    )


def test_the_thread_on_which_a_validator_waits_does_not_end(procs):
    """Goroutines that lock a thread and end take it with them. Without the rule 3.11 crashes."""
    needs("pydantic_core")
    fine(
        VALIDATORS
        + """
n = 100
def main():
    gate, entered, out = G.Chan(), G.Chan(), G.Chan()
    def validate(x):
        entered.send(None)
        gate.recv_ok()
        return x + 1
    v = SchemaValidator(cs.no_info_plain_validator_function(validate))
    def ends():
        G.lock_os_thread()
        entered.send(None)
    for i in range(n):
        G.go(lambda i=i: out.send(v.validate_python(i) == i + 1))
        entered.recv()
        G.go(ends)
        entered.recv()
        G.sleep(0.001)
    others = [threading.Thread(target=time.sleep, args=(0.05,)) for _ in range(50)]
    for t in others:
        t.start()
    for t in others:
        t.join()
    gate.close()
    assert all(out.recv() for _ in range(n))
    plain = SchemaValidator(cs.int_schema())
    assert each(50, plain.validate_python) == list(range(50))
G.run(main)
print("fine")
""",
        procs,
    )
