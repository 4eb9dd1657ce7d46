#!/bin/sh
# usage: scripts/find_python.sh [PYTHON]
#
# Prints the absolute path of the interpreter to build with: PYTHON if it is given, else the first
# suitable one on PATH.  If there is none, says why on stderr, in one line, and fails.
check=$(dirname "$0")/check_python.py

# A pyenv shim is on PATH for versions that are not active; it fails when run and is passed over.
usable() {
    reason=$("$1" "$check" --tools 2>/dev/null) && "$1" -c 'import sys; print(sys.executable)'
}

if [ -n "${1:-}" ]; then
    usable "$1" && exit
    echo "${reason:-cannot run $1}" >&2
    exit 1
fi
for python in python3.13 python3.12 python3.11 python3.14 python3.15 python3; do
    usable "$python" && exit
    [ -n "$reason" ] && first=${first:-$reason}
done
echo "${first:-no python3 on PATH}; name another interpreter with PYTHON=" >&2
exit 1
