package main

import (
	"slices"
	"time"
)

const hogs, period = 4, time.Millisecond

var sink int

func hog(end time.Time, turns chan int) {
	n := 0
	for ; time.Now().Before(end); n++ {
		for i := range 1000 {
			sink += i
		}
	}
	turns <- n
}

func main() {
	end := time.Now().Add(time.Duration(arguments()) * time.Millisecond)
	turns := make(chan int, hogs)
	for range hogs {
		go hog(end, turns)
	}
	var lateness []float64
	for len(lateness) == 0 || time.Now().Before(end) {
		due := time.Now().Add(period)
		time.Sleep(period)
		lateness = append(lateness, time.Since(due).Seconds())
	}
	var shares []int
	for range hogs {
		shares = append(shares, <-turns)
	}
	showPercentiles("late beside 4 that compute", lateness)
	show("shares of 4 that compute", "percent",
		100*float64(slices.Min(shares))/float64(slices.Max(shares)))
}
