package main

import "runtime"

func giveWay(n int, done chan struct{}) {
	for range n {
		runtime.Gosched()
	}
	done <- struct{}{}
}

func yielding(n int) {
	done := make(chan struct{}, 2)
	go giveWay(n/2, done)
	go giveWay(n/2, done)
	<-done
	<-done
}

func main() { benchmark("yield", yielding) }
