package main

func produce(ch chan int, n int) {
	for range n {
		ch <- 1
	}
	close(ch)
}

func received(n int) {
	ch := make(chan int, 128)
	go produce(ch, n)
	for range n {
		<-ch
	}
}

func iterated(n int) {
	ch := make(chan int, 128)
	go produce(ch, n)
	for range ch {
	}
}

func main() {
	n := arguments()
	received(n / 10)
	timed("buffered", n, func() { received(n) })
	iterated(n / 10)
	timed("buffered, iterated", n, func() { iterated(n) })
}
