package main

import "sync"

func mutex(n int) {
	var lock sync.Mutex
	for range n {
		lock.Lock()
		lock.Unlock()
	}
}

func main() { benchmark("mutex", mutex) }
