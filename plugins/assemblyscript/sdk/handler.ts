import { Context } from "./context";
import { Message } from "./message";
import { Outputs } from "./outputs";
import { Verdict } from "./verdict";

/** A handler. */
export abstract class Handler {
  /** Once for each instance, before its first message. What `context` refuses keeps the pipeline from starting. */
  init(context: Context): void {}

  /** Handles one message. What was sent for it is published if the verdict is `ack()`. */
  abstract handle(message: Message, out: Outputs): Verdict;
}

/** The handler of this module. */
export let registered: Handler | null = null;

/** Makes a handler the one that this module is; once, at the top level. */
export function register(handler: Handler): void {
  registered = handler;
}
