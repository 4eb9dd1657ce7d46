package main

import "net"

func serve(connection net.Conn) {
	defer connection.Close()
	data := make([]byte, 4096)
	for {
		n, err := connection.Read(data)
		if err != nil {
			return
		}
		connection.Write(data[:n])
	}
}

func main() { listen(serve) }
