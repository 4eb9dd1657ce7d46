package main

func answer(question, reply chan int) { reply <- <-question }

func ask(done chan struct{}) {
	question, reply := make(chan int, 1), make(chan int, 1)
	go answer(question, reply)
	question <- 1
	<-reply
	done <- struct{}{}
}

const atATime = 1000

func aThousand() {
	done := make(chan struct{}, atATime)
	for range atATime {
		go ask(done)
	}
	for range atATime {
		<-done
	}
}

func pingPong(n int) {
	for range n / atATime {
		aThousand()
	}
}

func main() { benchmark("ping pong many", pingPong) }
