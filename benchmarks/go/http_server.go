package main

import (
	"bytes"
	"net"
)

var (
	ok  = []byte("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!")
	bad = []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
)

func answer(head []byte) []byte {
	lines := bytes.Split(head, []byte("\r\n"))
	request := bytes.Split(lines[0], []byte(" "))
	headers := map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := bytes.Cut(line, []byte(":"))
		headers[string(bytes.ToLower(name))] = string(bytes.TrimSpace(value))
	}
	_, host := headers["host"]
	if host && len(request) == 3 && string(request[0]) == "GET" && string(request[2]) == "HTTP/1.1" {
		return ok
	}
	return bad
}

// To all requests that are complete; and what is left.
func answers(received []byte) (out, left []byte) {
	for {
		head, rest, found := bytes.Cut(received, []byte("\r\n\r\n"))
		if !found {
			return out, received
		}
		out = append(out, answer(head)...)
		received = rest
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	var received, out []byte
	data := make([]byte, 4096)
	for {
		n, err := connection.Read(data)
		if err != nil {
			return
		}
		out, received = answers(append(received, data[:n]...))
		connection.Write(out)
	}
}

func main() { listen(serve) }
