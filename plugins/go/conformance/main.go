// The reference handler: it does what the headers of a message say, or without a
// header `do` the setting of that name, so that one set of cases can be put to the
// SDK of every language.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wasmill/wasmill/plugins/go/sdk/log"
	"github.com/wasmill/wasmill/plugins/go/sdk/wasmill"
)

func init() { wasmill.Register(newReference) }

func main() {}

type reference struct {
	ctx   *wasmill.Context
	count int
	// The command of messages without one of their own.
	standing string
}

func newReference(ctx *wasmill.Context) (wasmill.Handler, error) {
	if reason, present := ctx.Config("fail"); present {
		return nil, errors.New(reason)
	}
	standing, present := ctx.Config("do")
	if !present {
		standing = "forward"
	}
	return &reference{ctx: ctx, standing: standing}, nil
}

var levels = map[string]log.Level{
	"trace": log.Trace, "debug": log.Debug, "info": log.Info, "warn": log.Warn, "error": log.Error,
}

// Handle does what the last header `do` says, or the setting, with the last header `arg`.
func (r *reference) Handle(m *wasmill.Message, out *wasmill.Outputs) error {
	count := r.count
	r.count++
	command := r.standing
	if named := m.Header("do"); named != nil {
		command = string(named)
	}
	switch command {
	case "forward":
		out.Forward(m)
	case "drop":
	case "copy":
		out.Send(m.Key(), m.Value(), spelledOut(m)...)
	case "upper":
		out.Send(m.Key(), upper(m.Value()))
	case "many":
		n, err := strconv.Atoi(argument(m))
		if err != nil {
			return err
		}
		var text []byte
		for i := range n {
			text = strconv.AppendInt(text[:0], int64(i), 10)
			out.Send(nil, text)
		}
	case "to":
		topic, err := wasmill.TopicNamed(argument(m))
		if err != nil {
			return err
		}
		out.Send(m.Key(), m.Value(), wasmill.To(topic))
	case "tombstone":
		out.Send(m.Key(), nil)
	case "empty":
		out.Send([]byte{}, []byte{}, wasmill.Header("", []byte{}), wasmill.Header("n", nil))
	case "describe":
		out.Send(nil, []byte(describe(m)))
	case "retry":
		return retry(m, out)
	case "reject":
		return errors.New(strings.ToValidUTF8(string(m.Value()), "\uFFFD"))
	case "log":
		name := argument(m)
		level, known := levels[name]
		if !known {
			return fmt.Errorf("unknown level %s", name)
		}
		log.Write(level, string(m.Value()))
	case "config":
		name := argument(m)
		value, present := r.ctx.Config(name)
		if !present {
			return fmt.Errorf("no setting %s", name)
		}
		out.Send(nil, []byte(value))
	case "context":
		text := fmt.Sprintf("pipeline=%s group=%s digest=%s", r.ctx.Pipeline(), r.ctx.Group(), r.ctx.Digest())
		out.Send(nil, []byte(text))
	case "count":
		out.Send(nil, strconv.AppendInt(nil, int64(count), 10))
	case "json":
		// A map and not a struct, whose fields match names in any case.
		var fields map[string]any
		err := json.Unmarshal(m.Value(), &fields)
		name, isText := fields["name"].(string)
		if err != nil || !isText {
			return errors.New("no name")
		}
		out.Send(nil, []byte(name))
	case "crash":
		panic(string(m.Value()))
	default:
		return fmt.Errorf("unknown command %s", command)
	}
	return nil
}

func argument(m *wasmill.Message) string { return string(m.Header("arg")) }

// spelledOut says explicitly what an output has of its message anyway.
func spelledOut(m *wasmill.Message) []wasmill.Option {
	options := []wasmill.Option{wasmill.Partition(m.Partition())}
	for name, value := range m.Headers() {
		options = append(options, wasmill.Header(name, value))
	}
	if ms, present := m.Timestamp(); present {
		options = append(options, wasmill.Timestamp(ms))
	}
	return options
}

// upper leaves all but ASCII letters as they are, and absent absent.
func upper(value []byte) []byte {
	copied := bytes.Clone(value)
	for i, b := range copied {
		if 'a' <= b && b <= 'z' {
			copied[i] = b - ('a' - 'A')
		}
	}
	return copied
}

func describe(m *wasmill.Message) string {
	timestamp := "none"
	if ms, present := m.Timestamp(); present {
		timestamp = strconv.FormatInt(ms, 10)
	}
	var headers []string
	for name, value := range m.Headers() {
		headers = append(headers, name+":"+size(value))
	}
	return fmt.Sprintf("topic=%s partition=%d offset=%d timestamp=%s attempt=%d key=%s value=%s headers=%s",
		m.Topic(), m.Partition(), m.Offset(), timestamp, m.Attempt(),
		size(m.Key()), size(m.Value()), strings.Join(headers, ","))
}

func size(bytes []byte) string {
	if bytes == nil {
		return "absent"
	}
	return strconv.Itoa(len(bytes))
}

func retry(m *wasmill.Message, out *wasmill.Outputs) error {
	enough, err := strconv.Atoi(argument(m))
	if err != nil {
		return err
	}
	if int(m.Attempt()) >= enough {
		out.Forward(m)
		return nil
	}
	reason := fmt.Errorf("attempt %d", m.Attempt())
	if after := m.Header("after"); after != nil {
		ms, err := strconv.Atoi(string(after))
		if err != nil {
			return err
		}
		return wasmill.RetryAfter(time.Duration(ms)*time.Millisecond, reason)
	}
	return wasmill.Retry(reason)
}
