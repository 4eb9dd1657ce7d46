// What the Go programs share: see ../common/clock.py.
package main

import (
	"fmt"
	"net"
	"os"
	"sort"
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

// Bytes of a process: resident, and in page tables.
func memoryOf(process string) map[string]float64 {
	sizes := map[string]float64{}
	status, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kb); err == nil {
			sizes[""] = kb * 1024
		}
		if _, err := fmt.Sscanf(line, "VmPTE: %f kB", &kb); err == nil {
			sizes[", page tables"] = kb * 1024
		}
	}
	return sizes
}

// Of this one, and all that its cgroup is charged for.
func memory() map[string]float64 {
	sizes := memoryOf("self")
	if charged := cgroupCharge(); charged > 0 {
		sizes[", cgroup"] = charged
	}
	return sizes
}

func showGrowth(what string, before map[string]float64, n int) {
	for kind, size := range memory() {
		show(what+kind, "bytes", (size-before[kind])/float64(n))
	}
}

func cgroupCharge() float64 {
	cgroups, _ := os.ReadFile("/proc/self/cgroup")
	for _, line := range strings.Split(string(cgroups), "\n") {
		part := strings.SplitN(line, ":", 3)
		if len(part) < 3 || (part[1] != "memory" && part[1] != "") {
			continue
		}
		usage := "/sys/fs/cgroup" + part[2] + "/memory.current"
		if part[1] == "memory" {
			usage = "/sys/fs/cgroup/memory" + part[2] + "/memory.usage_in_bytes"
		}
		if text, err := os.ReadFile(usage); err == nil {
			charged, _ := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
			return charged
		}
	}
	return 0
}

// In seconds, each of them.
func showPercentiles(what string, seconds []float64) {
	sort.Float64s(seconds)
	show(what+", median", "ns", seconds[len(seconds)/2]*1e9)
	show(what+", p99", "ns", seconds[len(seconds)*99/100]*1e9)
}

// A server on a free port, which is printed.
func listen(serve func(connection net.Conn)) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(connection)
	}
}
