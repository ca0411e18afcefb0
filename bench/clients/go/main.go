// What one writes in Go: gorilla/websocket, gjson and franz-go.
//
// Each message becomes two records, spliced and not printed anew: the event's own bytes, three fields appended.
// Settings by environment, as the service's. Runs until SIGTERM; then what it has is delivered, its account is printed
// as one line of JSON, and it ends with 0 if every record was delivered.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/gorilla/websocket"
)

func required(name string) string {
	value := os.Getenv(name)
	if value == "" {
		fail(fmt.Errorf("%s is not set", name))
	}
	return value
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func subscribe() *websocket.Conn {
	var streams []string
	for _, symbol := range strings.Split(strings.ToLower(required("BINANCE_SYMBOLS")), ",") {
		for _, kind := range strings.Split(required("BINANCE_STREAM_TYPES"), ",") {
			streams = append(streams, symbol+"@"+kind)
		}
	}
	dialer := websocket.Dialer{ReadBufferSize: 64 * 1024}
	socket, _, err := dialer.Dial(required("BINANCE_WS_URL")+"/stream", nil)
	if err != nil {
		fail(err)
	}
	request, _ := json.Marshal(map[string]any{"method": "SUBSCRIBE", "params": streams, "id": 1})
	if err := socket.WriteMessage(websocket.TextMessage, request); err != nil {
		fail(err)
	}
	return socket
}

// relay reads until the connection ends, which is what stopping does to it.
func relay(socket *websocket.Conn, delivery *delivery) error {
	var continuity *continuity
	if os.Getenv("CHECK_IDS") == "1" {
		continuity = newContinuity()
		defer func() { delivery.gaps = continuity.gaps }()
	}
	var message bytes.Buffer // used again: what is kept of a message is copied
	for {
		_, reader, err := socket.NextReader()
		if err != nil {
			return err
		}
		message.Reset()
		if _, err := message.ReadFrom(reader); err != nil {
			return err
		}
		event, ok, err := parse(message.Bytes(), continuity)
		if err != nil {
			return err
		}
		if ok {
			delivery.send(event)
		}
	}
}

func main() {
	delivery := newDelivery()
	socket := subscribe()
	var stopping atomic.Bool
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		stopping.Store(true)
		socket.Close()
	}()
	if err := relay(socket, delivery); err != nil && !stopping.Load() {
		fail(err)
	}
	if !delivery.finish() {
		os.Exit(1)
	}
}
