package main

import "runtime"

const atATime = 100

//go:noinline
func nothing() {}

func spawn(n int) {
	for range n / atATime {
		for range atATime {
			go nothing()
		}
		for runtime.NumGoroutine() > 1 {
			runtime.Gosched()
		}
	}
}

func main() { benchmark("spawn", spawn) }
