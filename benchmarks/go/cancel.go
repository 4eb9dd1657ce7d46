package main

import "context"

const below = 10

func tree(n int) context.CancelFunc {
	root, cancel := context.WithCancel(context.Background())
	contexts := []context.Context{root}
	for i := 1; i < n; i++ {
		child, _ := context.WithCancel(contexts[(i-1)/below])
		contexts = append(contexts, child)
	}
	return cancel
}

func main() {
	n := arguments()
	small, large := tree(max(n/10, 1)), tree(n)
	small()
	timed("cancel", n, large)
}
