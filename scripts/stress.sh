#!/bin/bash
# usage: scripts/stress.sh PYTHON [TIMES [PYTEST_ARG ...]]
#
# Runs tests/stress TIMES times (default 1) with each of GOMAXPROCS 1, 2, 4, 8 and a switch interval
# of 10 us and the default one; PYTHON has goroutines installed.  One line per run, then
# 'N passed, N failed' in runs.  The output of failed runs is kept in build/stress/.
# GOROUTINES_STRESS (default 1) makes the tests bigger, STRESS_TIMEOUT (600) ends a run.
set -u
if [[ $# -lt 1 ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
python=$1 times=${2:-1}
shift $(($# < 2 ? $# : 2))
logs=build/stress
mkdir -p "$logs"

passed=0 failed=0
one_run() { # one_run NUMBER PROCS INTERVAL [PYTEST_ARG ...]
    local name="run $1, GOMAXPROCS $2, switch interval ${3:-default}" begun=$SECONDS status=0
    local log="$logs/$1-$2-${3:-default}.log"
    shift 3
    timeout -k 10 "${STRESS_TIMEOUT:-600}" \
        "$python" -m pytest -q -p no:cacheprovider tests/stress "$@" >"$log" 2>&1 || status=$?
    if [[ $status -eq 0 ]]; then
        passed=$((passed + 1))
        echo "ok    $name: $(tail -1 "$log")"
        rm "$log"
    else
        failed=$((failed + 1))
        echo "FAIL  $name: status $status after $((SECONDS - begun)) s, see $log"
    fi
}

for ((i = 1; i <= times; i++)); do
    for procs in 1 2 4 8; do
        for interval in 0.00001 ""; do
            GOMAXPROCS=$procs GOROUTINES_TEST_SWITCHINTERVAL=$interval \
                one_run "$i" "$procs" "$interval" "$@"
        done
    done
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
