package main

import "runtime"

const tasks = 200

func giveWay(n int, done chan struct{}) {
	for range n {
		runtime.Gosched()
	}
	done <- struct{}{}
}

func yieldMany(n int) {
	done := make(chan struct{}, tasks)
	for range tasks {
		go giveWay(n/tasks, done)
	}
	for range tasks {
		<-done
	}
}

func main() { benchmark("yield many", yieldMany) }
