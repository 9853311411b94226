package main

import (
	"slices"
	"testing"

	"github.com/wasmill/wasmill/plugins/go/sdk/wasmilltest"
)

func TestSendsUpperCaseWithTheSuffix(t *testing.T) {
	host := wasmilltest.Host{Config: map[string]string{"suffix": "!"}}
	run := host.Run(t, newMyHandler, wasmilltest.Text("hello"))
	if !run.Acknowledged() || !slices.Equal(run.Values(), []string{"HELLO!"}) {
		t.Error(run.Verdicts, run.Values())
	}
}

func TestRejectsWhatIsNoText(t *testing.T) {
	run := wasmilltest.Host{}.Run(t, newMyHandler, wasmilltest.Text("\xff"))
	if run.Verdicts[0] != wasmilltest.Reject("the value is not UTF-8 from byte 0") {
		t.Error(run.Verdicts[0])
	}
}
