// What the Go programs share: see ../measure.py.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func arguments() int {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	return n
}

func show(what, unit string, number float64) {
	fmt.Printf("%s %s %.2f\n", what, unit, number)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func timed(what string, n int, body func()) {
	cpu, start := cpuTime(), time.Now()
	body()
	wall := time.Since(start)
	cpu = cpuTime() - cpu
	show(what, "ns", float64(wall.Nanoseconds())/float64(n))
	show(what, "cpu-ns", float64(cpu.Nanoseconds())/float64(n))
}

func benchmark(what string, body func(n int)) {
	n := arguments()
	body(max(n/10, 1))
	timed(what, n, func() { body(n) })
}

// Bytes of this process: resident, and in page tables.
func memory() (resident, tables float64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			resident = kb * 1024
		}
		if _, err := fmt.Sscanf(line, "VmPTE: %f kB", &kb); err == nil {
			tables = kb * 1024
		}
	}
	return
}
