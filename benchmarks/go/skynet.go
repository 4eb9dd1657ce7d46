package main

func skynet(parent chan int, number, size int) {
	if size == 1 {
		parent <- number
		return
	}
	children := make(chan int)
	size /= 10
	for i := range 10 {
		go skynet(children, number+i*size, size)
	}
	sum := 0
	for range 10 {
		sum += <-children
	}
	parent <- sum
}

func tree(n int) {
	total := make(chan int)
	go skynet(total, 0, n)
	if <-total != n*(n-1)/2 {
		panic("skynet")
	}
}

func main() { benchmark("skynet", tree) }
