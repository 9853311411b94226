package tests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/plugins/go/sdk/internal/host"
)

func TestPiecesAreAlignedAndDoNotOverlap(t *testing.T) {
	var arena host.Arena
	var pieces [][]byte
	for i, length := range []int{1, 16, 0, 70_000, 17, 200_000, 3, 0} {
		piece := arena.Allocate(1+i%2*3, length)
		if len(piece) < length || !strings.HasSuffix(fmt.Sprintf("%p", piece), "0") {
			t.Errorf("%d bytes at %p for %d", len(piece), piece, length)
		}
		for at := range piece {
			piece[at] = byte(i)
		}
		pieces = append(pieces, piece)
	}
	for i, piece := range pieces {
		for _, b := range piece {
			if int(b) != i {
				t.Fatal(i, b)
			}
		}
	}
}

func TestASteadyStreamAllocatesNothing(t *testing.T) {
	var arena host.Arena
	batch := func() {
		arena.Allocate(1, 300_000)
		arena.Allocate(4, 6000)
		arena.Reset()
	}
	batch()
	equal(t, testing.AllocsPerRun(100, batch), 0.0)
}
