#!/bin/sh
# Builds and runs the model checker, then variants with a deliberate mistake, which it must find.
# Needs a C compiler only. Exits with 1 if something is violated, or if a mistake is not found.
set -eu
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

build() { # NAME OUTPUT FLAGS...
    name=$1 output=$2
    shift 2
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -DGOROUTINES_MODEL -DRUNQ_SIZE=4 "$@" \
        -Itests/model -Isrc/runtime "tests/model/$name.c" src/runtime/runq.c \
        "src/runtime/context_$(uname -m).S" -o "$out/$output"
}

holds() { # NAME
    build "$1" right
    "$out/right"
}

found() { # NAME FLAG
    build "$1" wrong "$2"
    status=0
    "$out/wrong" >"$out/log" 2>&1 || status=$?
    if [ "$status" -ne 1 ] || ! grep -q violated "$out/log"; then
        echo "$1 $2: the mistake was not found"
        cat "$out/log"
        exit 1
    fi
    echo "$1 $2: found, $(sed -n 's/.*violated: //p' "$out/log")"
}

for name in model_runq model_park model_sched; do
    holds $name
done
found model_runq -DBROKEN_CAS
found model_runq -DBROKEN_SWAP
found model_park -DBROKEN_CAS
found model_park -DBROKEN=1
for mistake in 1 2 3 4; do
    found model_sched -DBROKEN=$mistake
done
