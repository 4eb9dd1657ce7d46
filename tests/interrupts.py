"""Programs in fresh interpreters that are sent signals."""

import os
import signal
import subprocess
import sys
import textwrap
import time

# Something that may wake the waiter, so that nobody calls it a deadlock.
MAY_WAKE = "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"


class Program:
    """A fresh interpreter that says `ready`, and is sent signals."""

    HEAD = "import faulthandler, os, signal, sys, threading, time\nimport goroutines as G\n"
    GUARD = "faulthandler.dump_traceback_later(40, exit=True)\n"
    READY = 'def ready():\n    os.write(1, b"ready\\n")\n'

    def __init__(self, source):
        source = self.HEAD + self.GUARD + self.READY + textwrap.dedent(source)
        self.process = subprocess.Popen(
            [sys.executable, "-c", source],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if k != "GOMAXPROCS"},
            # A shell's background job may have SIGINT ignored; the child must not inherit it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.stderr.read()

    def kill(self, signum=signal.SIGINT):
        self.process.send_signal(signum)
        return self

    def wait(self):
        out, err = self.process.communicate(timeout=60)
        return subprocess.CompletedProcess([], self.process.returncode, out, err)


def interrupted(source, *, pauses=(0.1,)):
    """Send SIGINT after each pause; what became of the program."""
    program = Program(source)
    for pause in pauses:
        time.sleep(pause)
        program.kill()
    return program.wait()
