/**
 * What the host calls: the canonical ABI of world `batches`, by hand. A handler's `assembly/handler.ts` exports it all.
 *
 * A (pointer, length) pair given to an export was allocated by `cabi_realloc` with that length and filled; strings are
 * UTF-8. Exports are not re-entered, and there is one thread.
 */

import "./abort";
import * as arena from "./arena";
import { Context } from "./context";
import { Handler, registered } from "./handler";
import * as host from "./host";
import { HEADER_BYTES, Message, ROW_WORDS } from "./message";
import { Outputs } from "./outputs";
import { decodeValid, encode } from "./utf8";
import { Kind } from "./verdict";

const message = new Message();
const out = new Outputs();

/** Memory for what the host hands over. */
export function cabi_realloc(old: usize, oldLength: usize, align: usize, length: usize): usize {
  // Any aligned address does for nothing.
  if (length == 0) return align;
  const place = arena.allocate(length);
  memory.copy(place, old, min(oldLength, length));
  return place;
}

/** `result<_, string>`: a tag, then start and length of the reason. */
const RESULT = memory.data(12, 4);
/** Keeps the reason for as long as the host reads it. */
let reason: ArrayBuffer | null = null;

/** Once, before the first batch. */
export function init(
  pipeline: usize,
  pipelineLength: i32,
  group: usize,
  groupLength: i32,
  digest: usize,
  digestLength: i32,
  settings: usize,
  settingsCount: i32,
): usize {
  const keys: string[] = [];
  const values: string[] = [];
  for (let i = 0; i < settingsCount; i++) {
    const row = settings + <usize>i * 16;
    keys.push(decodeValid(load<usize>(row), load<i32>(row, 4)));
    values.push(decodeValid(load<usize>(row, 8), load<i32>(row, 12)));
  }
  const context = new Context(
    decodeValid(pipeline, pipelineLength),
    decodeValid(group, groupLength),
    decodeValid(digest, digestLength),
    keys,
    values,
  );
  const handler = registered;
  if (handler === null) context.refuse("this module registers no handler; hint: call `register` at the top level");
  else handler.init(context);
  const refusal = context.refusal;
  if (refusal !== null) {
    const text = encode(refusal);
    reason = text;
    store<u8>(RESULT, 1);
    store<usize>(RESULT, changetype<usize>(text), 4);
    store<i32>(RESULT, text.byteLength, 8);
  }
  arena.reset();
  return RESULT;
}

/** A batch; returns how many messages were reached. */
export function handle(
  source: u32,
  partition: i32,
  data: usize,
  dataLength: usize,
  table: usize,
  words: u32,
  stride: u32,
  count: u32,
): u32 {
  if (stride < ROW_WORDS) throw new Error(`the host's rows have ${stride} words, this SDK needs ${ROW_WORDS}`);
  const handler = registered!;
  message.source = source;
  message.partition = partition;
  message.data = data;
  message.headerRows = table + <usize>(stride * count) * 4;
  out.begin(data, dataLength, (words - stride * count) / <u32>(HEADER_BYTES / 4));
  let reached: u32 = 0;
  while (reached < count) {
    message.row = table + <usize>(stride * reached) * 4;
    out.beginMessage(reached);
    const verdict = handler.handle(message, out);
    reached++;
    if (verdict.kind == Kind.Ack) continue;
    out.drop();
    const isRetry = verdict.kind == Kind.Retry;
    host.fail(reached - 1, isRetry, verdict.afterMs, verdict.reason);
    // Whatever came after would overtake this message; the host would discard it.
    if (isRetry) break;
  }
  out.flush();
  arena.reset();
  return reached;
}
