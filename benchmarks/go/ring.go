package main

import (
	"fmt"
	"os"
	"strconv"
)

func node(inbox, outbox, done chan int) {
	for {
		if left := <-inbox; left > 0 {
			outbox <- left - 1
		} else {
			done <- 0
		}
	}
}

func ring(size int, done chan int) chan int {
	first := make(chan int)
	inbox := first
	for range size - 1 {
		outbox := make(chan int)
		go node(inbox, outbox, done)
		inbox = outbox
	}
	go node(inbox, first, done)
	return first
}

func main() {
	n, size := arguments(), 503
	if len(os.Args) > 2 {
		size, _ = strconv.Atoi(os.Args[2])
	}
	done := make(chan int)
	first := ring(size, done)
	first <- size
	<-done
	timed(fmt.Sprintf("ring of %d", size), n, func() {
		first <- n
		<-done
	})
}
