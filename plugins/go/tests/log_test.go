package tests

import (
	"log/slog"
	"testing"

	"github.com/wasmill/wasmill/plugins/go/sdk/log"
	"github.com/wasmill/wasmill/plugins/go/sdk/wasmill"
	"github.com/wasmill/wasmill/plugins/go/sdk/wasmilltest"
)

func TestEveryLevelReachesTheLog(t *testing.T) {
	run := run(t, func(*wasmill.Message, *wasmill.Outputs) error {
		log.Tracef("%d", 1)
		log.Debugf("%d", 2)
		log.Infof("%d", 3)
		log.Warnf("%d", 4)
		log.Errorf("%d", 5)
		log.Write(99, "6")
		return nil
	}, full())
	equal(t, run.Log, []wasmilltest.Line{
		{Level: log.Trace, Text: "1"}, {Level: log.Debug, Text: "2"}, {Level: log.Info, Text: "3"},
		{Level: log.Warn, Text: "4"}, {Level: log.Error, Text: "5"}, {Level: log.Error, Text: "6"},
	})
}

func TestSlogWritesToTheLog(t *testing.T) {
	logger := slog.New(log.NewHandler(slog.LevelDebug))
	run := run(t, func(m *wasmill.Message, _ *wasmill.Outputs) error {
		logger.With("topic", m.Topic()).Info("order is late", "id", 7, "level", "own")
		logger.WithGroup("g").Error("bad", "k", "v")
		logger.Log(t.Context(), slog.LevelDebug-1, "left out")
		slog.New(log.NewHandler(slog.Level(-9))).Log(t.Context(), -8, "fine")
		return nil
	}, full())
	equal(t, run.Log, []wasmilltest.Line{
		{Level: log.Info, Text: `msg="order is late" topic=input id=7 level=own`},
		{Level: log.Error, Text: `msg=bad g.k=v`},
		{Level: log.Trace, Text: `msg=fine`},
	})
}
