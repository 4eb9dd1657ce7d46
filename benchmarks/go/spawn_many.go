package main

import "sync/atomic"

const atATime = 1000

func aThousand() {
	done := make(chan struct{})
	var left atomic.Int64
	left.Store(atATime)
	for range atATime {
		go func() {
			if left.Add(-1) == 0 {
				done <- struct{}{}
			}
		}()
	}
	<-done
}

func spawnMany(n int) {
	for range n / atATime {
		aThousand()
	}
}

func main() { benchmark("spawn many", spawnMany) }
