package main

func produce(ch chan int, n int) {
	for range n {
		ch <- 1
	}
	close(ch)
}

func iterated(n int) {
	ch := make(chan int, 128)
	go produce(ch, n)
	for range ch {
	}
}

func main() { benchmark("buffered, iterated", iterated) }
