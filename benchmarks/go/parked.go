package main

import "runtime"

func wait(ch chan int) { <-ch }

func parkAll(ch chan int, n int) {
	for range n {
		go wait(ch)
	}
	runtime.Gosched()
}

func wakeAll(ch chan int, n int) {
	for range n {
		ch <- 1
	}
	for runtime.NumGoroutine() > 1 {
		runtime.Gosched()
	}
}

func main() {
	n := arguments()
	ch := make(chan int)
	before := memory()
	timed("park, fresh stack", n, func() { parkAll(ch, n) })
	showGrowth("parked", before, n)
	timed("wake and end", n, func() { wakeAll(ch, n) })
	timed("park, used stack", n, func() { parkAll(ch, n) })
	timed("wake and end again", n, func() { wakeAll(ch, n) })
}
