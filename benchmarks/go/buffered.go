package main

func produce(ch chan int, n int) {
	for range n {
		ch <- 1
	}
}

func buffered(n int) {
	ch := make(chan int, 128)
	go produce(ch, n)
	for range n {
		<-ch
	}
}

func main() { benchmark("buffered", buffered) }
