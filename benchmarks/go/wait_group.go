package main

import "sync"

const atATime = 10_000

//go:noinline
func nothing() {}

func waitGroup(n int) {
	for done := 0; done < n; done += atATime {
		var group sync.WaitGroup
		for range atATime {
			group.Go(nothing)
		}
		group.Wait()
	}
}

func main() { benchmark("wait group", waitGroup) }
