package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	metadataMax  = 10 * time.Second
	flushMax     = 20 * time.Second
	bufferedMax  = 1_000_000
	batchMaxSize = 1_000_000 // bytes; as librdkafka's default
)

// delivery is the records on their way into Kafka, every one of them counted when it is acknowledged.
type delivery struct {
	client             *kgo.Client
	raw, trades, depth string
	delivered, failed  atomic.Uint64
	gaps               uint64
	timed              bool
	lock               sync.Mutex
	latenciesUs        []int64
}

func newDelivery() *delivery {
	lingerMs, err := strconv.ParseFloat(cmpOr(os.Getenv("KAFKA_PRODUCER_LINGER_MS"), "5"), 64)
	if err != nil {
		fail(err)
	}
	d := &delivery{
		raw: required("KAFKA_TOPIC_RAW_EVENTS"), trades: required("KAFKA_TOPIC_TRADES"), depth: required("KAFKA_TOPIC_DEPTH"),
		timed: os.Getenv("TELL_LATENCY") == "1",
	}
	// Idempotence is franz-go's default; its partitioner hashes keys by murmur2, as Java's does.
	d.client, err = kgo.NewClient(
		kgo.SeedBrokers(strings.Split(required("KAFKA_BOOTSTRAP_SERVERS"), ",")...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ProducerLinger(time.Duration(lingerMs*float64(time.Millisecond))),
		kgo.ProducerBatchMaxBytes(batchMaxSize),
		kgo.MaxBufferedRecords(bufferedMax),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	if err != nil {
		fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), metadataMax)
	defer cancel()
	if err := d.client.Ping(ctx); err != nil {
		fail(err)
	}
	return d
}

// send hands over the two records of a message; it waits where too much is buffered.
func (d *delivery) send(event event) {
	report := d.count
	if d.timed {
		sentUs := stampUs(event.value)
		report = func(record *kgo.Record, err error) {
			d.count(record, err)
			if sentUs > 0 {
				latencyUs := time.Now().UnixMicro() - sentUs
				d.lock.Lock()
				d.latenciesUs = append(d.latenciesUs, latencyUs)
				d.lock.Unlock()
			}
		}
	}
	second := d.depth
	if event.trade {
		second = d.trades
	}
	key, at := []byte(event.symbol), time.UnixMilli(event.timeMs)
	pair := [2]kgo.Record{
		{Topic: d.raw, Key: key, Value: event.value, Timestamp: at},
		{Topic: second, Key: key, Value: event.value, Timestamp: at},
	}
	d.client.Produce(context.Background(), &pair[0], report)
	d.client.Produce(context.Background(), &pair[1], report)
}

func (d *delivery) count(_ *kgo.Record, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		d.failed.Add(1)
		return
	}
	d.delivered.Add(1)
}

// finish waits until everything is acknowledged and prints the account; whether nothing is missing.
func (d *delivery) finish() bool {
	ctx, cancel := context.WithTimeout(context.Background(), flushMax)
	defer cancel()
	err := d.client.Flush(ctx)
	left := d.client.BufferedProduceRecords()
	d.lock.Lock()
	defer d.lock.Unlock()
	latencies := d.latenciesUs[len(d.latenciesUs)/3:] // fresh topics, cold caches
	slices.Sort(latencies)
	at := func(share float64) int64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[int(float64(len(latencies)-1)*share)]
	}
	fmt.Printf(
		`{"delivered_records":%d,"failed_records":%d,"left_records":%d,"gaps":%d,"ack_us":[%d,%d,%d]}`+"\n",
		d.delivered.Load(), d.failed.Load(), left, d.gaps, at(0.5), at(0.9), at(0.99),
	)
	return err == nil && d.failed.Load() == 0 && left == 0
}

// stampUs is when the exchange says to have sent a message: a paced one ends its event with the field x, us since the
// epoch.
func stampUs(value []byte) int64 {
	name := []byte(`,"x":`)
	at := bytes.LastIndex(value, name)
	if at < 0 {
		return 0
	}
	digits := value[at+len(name):]
	if end := bytes.IndexByte(digits, ','); end >= 0 {
		digits = digits[:end]
	}
	found, _ := strconv.ParseInt(string(digits), 10, 64)
	return found
}

func cmpOr(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
