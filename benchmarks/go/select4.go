package main

func produce(channels []chan int, n int) {
	for i := range n {
		channels[i&3] <- 1
	}
}

func select4(n int) {
	a, b, c, d := make(chan int), make(chan int), make(chan int), make(chan int)
	go produce([]chan int{a, b, c, d}, n)
	for range n {
		select {
		case <-a:
		case <-b:
		case <-c:
		case <-d:
		}
	}
}

func main() { benchmark("select of 4", select4) }
