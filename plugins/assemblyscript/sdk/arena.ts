/**
 * Where the host puts what it hands over: bump allocation, taken back all at once when a call is over, so that a steady
 * stream of batches keeps reusing the same memory and the collector never looks at it.
 *
 * Allocations are on multiples of 16: large copies in the host are many times slower when source and destination lie a
 * few bytes off each other within a page.
 */

/** The chunk in use. Its first word says where the chunk before it is, which is full. */
let chunk: usize = 0;
let capacity: usize = 0;
let used: usize = 0;

const LINK: usize = 16;
const LEAST: usize = 64 << 10;

/** So many bytes, until the next `reset`. */
export function allocate(size: usize): usize {
  const rounded = (size + 15) & ~15;
  if (used + rounded > capacity) {
    // At least twice the last one, so that a steady stream soon fits one chunk.
    const full = chunk;
    capacity = max(LEAST, max(LINK + rounded, capacity * 2));
    chunk = heap.alloc(capacity);
    store<usize>(chunk, full);
    used = LINK;
  }
  const at = chunk + used;
  used += rounded;
  return at;
}

/** Takes back everything, and keeps the last chunk, the largest. */
export function reset(): void {
  if (chunk == 0) return;
  let full = load<usize>(chunk);
  while (full != 0) {
    const next = load<usize>(full);
    heap.free(full);
    full = next;
  }
  store<usize>(chunk, 0);
  used = LINK;
}
