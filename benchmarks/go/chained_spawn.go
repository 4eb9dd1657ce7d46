package main

func link(left int, done chan struct{}) {
	if left > 0 {
		go link(left-1, done)
	} else {
		done <- struct{}{}
	}
}

func chainedSpawn(n int) {
	done := make(chan struct{})
	go link(n, done)
	<-done
}

func main() { benchmark("chained spawn", chainedSpawn) }
