package host

// Arena hands out memory for the host to write to, until the call is over. The
// host keeps addresses, which are no pointers, so each piece stays reachable
// from here until then; and Go does not move what is on its heap.
//
// A batch needs two pieces, its bytes and its table, told apart by alignment.
// Each has a buffer that is used again batch after batch.
type Arena struct {
	bytes, words buffer
	// others are pieces that found their buffer taken: the strings of init and
	// of answers to imports.
	others [][]byte
}

type buffer struct {
	space []byte
	taken bool
}

// least is the first size of a buffer. From 32 KiB on Go aligns to a page, and
// copies between ends that are aligned alike are fast.
const least = 64 << 10

// Allocate returns at least length bytes, aligned to 16.
func (a *Arena) Allocate(align, length int) []byte {
	buffer := &a.bytes
	if align > 1 {
		buffer = &a.words
	}
	if buffer.taken {
		// Go aligns what has a multiple of 16 bytes to that.
		piece := make([]byte, (length+16)&^15)
		a.others = append(a.others, piece)
		return piece
	}
	buffer.taken = true
	if length > len(buffer.space) {
		size := max(least, len(buffer.space))
		for size < length {
			size *= 2
		}
		// First let go of the old one, to which nothing refers any more.
		buffer.space = nil
		buffer.space = make([]byte, size)
	}
	return buffer.space
}

// ResetOthers takes back what is not in a buffer.
func (a *Arena) ResetOthers() {
	clear(a.others)
	a.others = a.others[:0]
}

// Reset takes back everything.
func (a *Arena) Reset() {
	a.bytes.taken, a.words.taken = false, false
	a.ResetOthers()
}
