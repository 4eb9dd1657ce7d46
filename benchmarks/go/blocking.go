package main

import (
	"runtime"
	"syscall"
	"time"
)

const blocked, period = 200, time.Millisecond

func block() {
	for {
		t := syscall.Timespec{Nsec: 5_000_000}
		syscall.Nanosleep(&t, nil)
		runtime.Gosched()
	}
}

func main() {
	for range blocked {
		go block()
	}
	var lateness []float64
	for range arguments() {
		due := time.Now().Add(period)
		time.Sleep(period)
		lateness = append(lateness, time.Since(due).Seconds())
	}
	showPercentiles("late beside 200 blocked", lateness)
}
