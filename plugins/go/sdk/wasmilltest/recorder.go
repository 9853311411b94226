//go:build !wasip1

package wasmilltest

import (
	"fmt"
	"slices"
	"time"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
	"github.com/wasmill/wasmill/plugins/go/sdk/log"
)

// recorder stands in for the host: it writes down what a handler says.
type recorder struct {
	granted []string
	topic   string

	emissions []emission
	verdicts  map[int]Verdict
	log       []Line
}

// enter makes this recorder the host until the function it returns is called.
func (r *recorder) enter() (leave func()) {
	turn.Lock()
	before := host.Current
	host.Current = r
	return func() {
		host.Current = before
		turn.Unlock()
	}
}

// run tells what was said of a batch, and forgets it.
func (r *recorder) run(in *input, reached int) Run {
	run := Run{Verdicts: make([]Verdict, len(in.messages)), Log: r.log}
	for i := range run.Verdicts {
		run.Verdicts[i] = r.verdicts[i]
		if i >= reached {
			run.Verdicts[i] = Verdict{Kind: NotReached}
		}
	}
	for _, emission := range r.emissions {
		emission.data = slices.Concat(in.data, emission.data)
		for _, output := range emission.outputs(in, r.granted) {
			if run.Verdicts[output.Message] == Ack() {
				run.Outputs = append(run.Outputs, output)
			}
		}
	}
	r.emissions, r.verdicts, r.log = nil, nil, nil
	return run
}

// say notes a verdict; the first one for a message counts.
func (r *recorder) say(message uint32, verdict Verdict) {
	if r.verdicts == nil {
		r.verdicts = map[int]Verdict{}
	}
	if _, said := r.verdicts[int(message)]; !said {
		r.verdicts[int(message)] = verdict
	}
}

func (r *recorder) Emit(data []byte, table []uint32, stride, count uint32) {
	if stride != rowWords {
		panic(fmt.Sprintf("the SDK emits rows of %d words, and this package reads %d", stride, rowWords))
	}
	r.emissions = append(r.emissions, emission{slices.Clone(data), slices.Clone(table), int(count)})
}

func (r *recorder) Reject(message uint32, reason string) {
	r.say(message, Reject(reason))
}

func (r *recorder) Retry(message, after uint32, reason string) {
	r.say(message, Retry(time.Duration(after)*time.Millisecond, reason))
}

func (r *recorder) Log(level uint32, text string) {
	r.log = append(r.log, Line{log.Level(level), text})
}

func (r *recorder) TopicNumber(name string) (uint32, error) {
	if i := slices.Index(r.granted, name); i >= 0 {
		return uint32(i + 1), nil
	}
	return 0, fmt.Errorf("topic `%s` is not granted; hint: `Host.Grant` names those that are", name)
}

func (r *recorder) SourceName(uint32) string { return r.topic }
