package main

import (
	"runtime"
	"sync"
)

const users = 50

func use(lock *sync.Mutex, n int) {
	for range n {
		lock.Lock()
		runtime.Gosched()
		lock.Unlock()
	}
}

func mutexContended(n int) {
	var lock sync.Mutex
	var group sync.WaitGroup
	for range users {
		group.Go(func() { use(&lock, n/users) })
	}
	group.Wait()
}

func main() { benchmark("contended mutex", mutexContended) }
