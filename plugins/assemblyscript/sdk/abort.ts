import { write } from "./log_write";

// This file must not import one that makes an object at its top level: the compiler comes here from within the runtime
// itself, and would make the object before the collector is ready.

let aborting = false;

/**
 * What `throw` and failed checks come to, by `use` in asconfig.json: the text goes to the log, and the host puts the last
 * line of level error into the dead letter of a message that traps.
 */
export function abort(text: string | null, file: string | null, line: u32, column: u32): void {
  // What follows may itself run out of memory.
  if (aborting) unreachable();
  aborting = true;
  const what = text === null ? "aborted" : `aborted: ${text}`;
  write(4, file === null ? what : `${what} at ${file}:${line}:${column}`);
  unreachable();
}
