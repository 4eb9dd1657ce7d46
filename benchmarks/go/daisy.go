package main

func addOne(left, right chan int) { left <- 1 + <-right }

func daisy(n int) {
	leftmost := make(chan int)
	left := leftmost
	for range n {
		right := make(chan int)
		go addOne(left, right)
		left = right
	}
	left <- 1
	if <-leftmost != n+1 {
		panic("daisy")
	}
}

func main() { benchmark("daisy chain", daisy) }
