import { encode } from "./utf8";

@external("wasmill:handler/log@0.1.0", "write")
declare function logWrite(level: u32, text: usize, length: usize): void;

/** Writes a log line; levels are numbered from 0, trace, to 4, error. */
export function write(level: u32, line: string): void {
  const text = encode(line);
  logWrite(level, changetype<usize>(text), text.byteLength);
}
