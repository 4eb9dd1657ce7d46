package main

import "fmt"

func generate(out chan int) {
	for number := 2; ; number++ {
		out <- number
	}
}

func strain(numbers, out chan int, prime int) {
	for number := range numbers {
		if number%prime != 0 {
			out <- number
		}
	}
}

func sieve(n int) {
	numbers := make(chan int)
	go generate(numbers)
	for range n {
		prime := <-numbers
		out := make(chan int)
		go strain(numbers, out, prime)
		numbers = out
	}
}

func main() {
	n := arguments()
	timed(fmt.Sprintf("sieve of %d primes", n), n, func() { sieve(n) })
}
