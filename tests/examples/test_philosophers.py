"""philosophers.py: with an order of forks all eat; without one the runtime reports a deadlock."""

NAMES = ["Plato", "Confucius", "Socrates", "Voltaire", "Descartes"]


def test_everybody_eats(example):
    done = example("philosophers.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{name} ate 3 times" for name in NAMES]


def test_naive_order_is_reported_as_a_deadlock(example):
    done = example("philosophers.py", "--naive")
    assert (done.returncode, done.stderr) == (1, "")
    head, *lines = done.stdout.splitlines()
    assert head == "all goroutines are asleep - deadlock!"
    waiting = [line for line in lines if "chan receive" in line and "philosophers.py" in line]
    assert len(waiting) == len(NAMES) + 1  # and main, which waits for a meal
