package main

import (
	"fmt"
	"os"
	"strconv"
)

func produce(ch chan int, n int) {
	for range n {
		ch <- 1
	}
}

func produced(n, producers int) {
	ch := make(chan int)
	for range producers {
		go produce(ch, n/producers)
	}
	for range n / producers * producers {
		<-ch
	}
}

func main() {
	n := arguments()
	producers, _ := strconv.Atoi(os.Args[2])
	produced(n/10, producers)
	timed(fmt.Sprintf("%d producers", producers), n, func() { produced(n, producers) })
}
