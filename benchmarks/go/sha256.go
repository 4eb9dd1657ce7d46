package main

import (
	"crypto/sha256"
	"fmt"
	"runtime"
)

var piece = make([]byte, 1<<20)

func digest(done chan string) { done <- fmt.Sprintf("%x", sha256.Sum256(piece)) }

func main() {
	n := arguments()
	done := make(chan string, n)
	timed(fmt.Sprintf("SHA-256 of 1 MiB, %d Ps", runtime.GOMAXPROCS(0)), n, func() {
		for range n {
			go digest(done)
		}
		for range n {
			<-done
		}
	})
}
