package main

import (
	"os"
	"strconv"
	"time"
)

func main() {
	n := arguments()
	milliseconds, _ := strconv.Atoi(os.Args[2])
	ch := make(chan int)
	for range n {
		go func() { <-ch }()
	}
	time.Sleep(time.Second)
	before := cpuTime()
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
	used := cpuTime() - before
	show("CPU at rest", "ns/s", float64(used.Nanoseconds())*1000/float64(milliseconds))
}
