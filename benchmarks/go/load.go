// Load for a server: N connections arrive at once, then each asks again as soon as it has its
// answer.
//
//	load PROGRAM PORT PID MILLISECONDS N
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	patience = 30 * time.Second
	tick     = 10 * time.Millisecond // of the CPU times in /proc
)

type dialogue struct{ name, question, answer string }

var (
	message   = strings.Repeat("0123456789abcdef", 4)
	dialogues = map[string]dialogue{
		"echo": {"echo", message, message},
		"http_server": {
			"HTTP",
			"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!",
		},
	}
)

// ---- a connection ----

type client struct {
	dialogue
	connection net.Conn
	received   []byte
	latencies  []float64 // in seconds
	lost       error
}

func (c *client) ask() error {
	c.connection.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.connection, c.question); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.connection, c.received); err != nil {
		return err
	}
	if string(c.received) != c.answer {
		return fmt.Errorf("the answer is %q", c.received)
	}
	return nil
}

func (c *client) arrive(port string) error {
	connection, err := net.DialTimeout("tcp", "127.0.0.1:"+port, patience)
	if err != nil {
		return err
	}
	c.connection = connection
	return c.ask()
}

func (c *client) askUntil(end time.Time) error {
	for asked := time.Now(); asked.Before(end); {
		if err := c.ask(); err != nil {
			return err
		}
		answered := time.Now()
		c.latencies = append(c.latencies, answered.Sub(asked).Seconds())
		asked = answered
	}
	return nil
}

// ---- all of them ----

// At once, those that are not lost.
func all(clients []*client, do func(c *client) error) {
	var group sync.WaitGroup
	for _, c := range clients {
		if c.lost == nil {
			group.Go(func() { c.lost = do(c) })
		}
	}
	group.Wait()
}

func count(clients []*client) (latencies []float64, lost int) {
	for _, c := range clients {
		latencies = append(latencies, c.latencies...)
		if c.lost != nil {
			lost++
			if lost == 1 {
				fmt.Fprintln(os.Stderr, c.lost)
			}
		}
	}
	return latencies, lost
}

// ---- the server ----

func cpuTimeOf(process string) time.Duration {
	stat, err := os.ReadFile("/proc/" + process + "/stat")
	if err != nil {
		panic(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	user, _ := strconv.Atoi(string(fields[11]))
	system, _ := strconv.Atoi(string(fields[12]))
	return time.Duration(user+system) * tick
}

func number(argument string) int {
	n, err := strconv.Atoi(argument)
	if err != nil {
		panic(err)
	}
	return n
}

func main() {
	d, port, process := dialogues[os.Args[1]], os.Args[2], os.Args[3]
	period, n := time.Duration(number(os.Args[4]))*time.Millisecond, number(os.Args[5])
	what := fmt.Sprintf("%s, %d connections", d.name, n)
	var clients []*client
	for range n {
		clients = append(clients, &client{dialogue: d, received: make([]byte, len(d.answer))})
	}

	before := memoryOf(process)
	all(clients, func(c *client) error { return c.arrive(port) })
	for kind, size := range memoryOf(process) {
		show(what+", memory"+kind, "bytes", (size-before[kind])/float64(n))
	}

	cpu, start := cpuTimeOf(process), time.Now()
	all(clients, func(c *client) error { return c.askUntil(start.Add(period)) })
	wall := time.Since(start)
	cpu = cpuTimeOf(process) - cpu

	latencies, lost := count(clients)
	show(what+", lost", "lost", float64(lost))
	show(what, "/s", float64(len(latencies))/wall.Seconds())
	show(what, "cpu-ns", float64(cpu.Nanoseconds())/float64(len(latencies)))
	showPercentiles(what, latencies)
}
