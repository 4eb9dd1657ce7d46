package main

func echo(there, back chan int, n int) {
	for range n {
		back <- <-there
	}
}

func pingpong(n int) {
	there, back := make(chan int), make(chan int)
	go echo(there, back, n)
	for range n {
		there <- 1
		<-back
	}
}

func main() { benchmark("round trip", pingpong) }
