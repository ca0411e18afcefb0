package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tidwall/gjson"
)

// event is what is looked at of a message, and the value that its records get.
type event struct {
	trade  bool
	symbol string
	timeMs int64
	value  []byte
}

// continuity knows the last id of each series, and how often the next did not follow.
type continuity struct {
	last [2]map[string]uint64
	gaps uint64
}

func newContinuity() *continuity {
	return &continuity{last: [2]map[string]uint64{{}, {}}}
}

func (c *continuity) note(kind int, symbol string, first, last uint64) {
	if before, known := c.last[kind][symbol]; known && first != before+1 {
		c.gaps++
	}
	c.last[kind][symbol] = last
}

const (
	tradeTail = `,"source":"binance_websocket","event_type":"aggregate_trade"}`
	depthTail = `,"source":"binance_websocket","event_type":"depth_update"}`
)

// parse looks at no more than routing needs, and stops behind it. Not ok: a message without an event.
func parse(message []byte, continuity *continuity) (found event, ok bool, err error) {
	data := gjson.GetBytes(message, "data")
	if !data.Exists() {
		return found, false, nil // the answer to our subscription
	}
	var kind string
	var first, last uint64
	data.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "e":
			kind = value.Str
			found.trade = kind == "aggTrade"
		case "E":
			found.timeMs = value.Int()
		case "s":
			found.symbol = value.Str
			return continuity != nil
		case "a":
			first, last = value.Uint(), value.Uint()
			return false
		case "U":
			first = value.Uint()
		case "u":
			last = value.Uint()
			return false
		}
		return true
	})
	tail := tradeTail
	if !found.trade {
		if kind != "depthUpdate" {
			return found, false, fmt.Errorf("an event of type %q", kind)
		}
		tail = depthTail
	}
	if continuity != nil {
		series := 0
		if found.trade {
			series = 1
		}
		continuity.note(series, found.symbol, first, last)
	}
	found.value = make([]byte, 0, len(data.Raw)+128)
	found.value = append(found.value, data.Raw[:len(data.Raw)-1]...)
	found.value = append(found.value, `,"ingestion_timestamp":`...)
	found.value = strconv.AppendInt(found.value, time.Now().UnixMilli(), 10)
	found.value = append(found.value, tail...)
	return found, true, nil
}
