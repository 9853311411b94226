/** The host's imports as the canonical ABI lowers them, and what takes texts to and fro. */

import { decodeValid, encode } from "./utf8";

@external("wasmill:handler/outcome@0.1.0", "emit")
export declare function emit(data: usize, dataLength: usize, table: usize, words: usize, stride: u32, count: u32): void;

@external("wasmill:handler/outcome@0.1.0", "fail")
declare function outcomeFail(message: u32, hasAfter: i32, afterMs: u32, reason: usize, length: usize): void;

@external("wasmill:handler/topics@0.1.0", "number")
declare function topicsNumber(name: usize, length: usize, result: usize): void;

@external("wasmill:handler/topics@0.1.0", "source-name")
declare function topicsSourceName(source: u32, result: usize): void;

/** Where the imports that return more than a number put it. */
const RESULT = memory.data(12, 4);

/** Says that a message is not acknowledged. */
export function fail(message: u32, isRetry: bool, afterMs: u32, reason: string): void {
  const text = encode(reason);
  outcomeFail(message, <i32>isRetry, afterMs, changetype<usize>(text), text.byteLength);
}

/** Why the last `topicNumber` gave none. */
export let refusal: string = "";

/** The number of an output topic; -1 if the pipeline does not grant it, and `refusal` then says which it does. */
export function topicNumber(name: string): i32 {
  const text = encode(name);
  topicsNumber(changetype<usize>(text), text.byteLength, RESULT);
  if (load<u8>(RESULT) == 0) return load<i32>(RESULT, 4);
  refusal = decodeValid(load<usize>(RESULT, 4), load<i32>(RESULT, 8));
  return -1;
}

/** Names asked for so far, by number. */
const sources = new Map<u32, string>();

/** The name of a source topic, asked of the host once for each number. */
export function sourceName(source: u32): string {
  if (sources.has(source)) return sources.get(source);
  topicsSourceName(source, RESULT);
  const name = decodeValid(load<usize>(RESULT), load<i32>(RESULT, 4));
  sources.set(source, name);
  return name;
}
