#!/bin/bash
# The binding under valgrind: no access to memory that is not there, and no use of memory that was
# never written.  (The runtime alone, without Python: make check-c.)
#
#   scripts/valgrind.sh PYTHON [PROGRAM [ARG ...]]      PYTHON has goroutines installed
#
# CPython 3.11 itself looks at what it has not written (int.from_bytes): there with
# VALGRIND_OPTS=--undef-value-errors=no in the environment.
#
# Exit code 0 if valgrind has nothing to say.  Goroutines have stacks of their own, hence
# --max-stackframe; leaks are not looked for, as the interpreter leaves much behind.
set -eu
here=$(dirname "${BASH_SOURCE[0]}")
python=${1:?usage: scripts/valgrind.sh PYTHON [PROGRAM [ARG ...]]}
shift
[[ $# -gt 0 ]] || set -- "$here/valgrind.py"
export PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1
exec valgrind --quiet --error-exitcode=1 --error-limit=no --max-stackframe=100000 \
    --suppressions="$here/valgrind.supp" "$python" "$@"
