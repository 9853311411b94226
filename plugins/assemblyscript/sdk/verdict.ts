/** What a handler says of a message: acknowledged, or why not. `ack`, `retry` and `reject` make one. */
export class Verdict {
  /** Not for use by handlers. */
  constructor(
    readonly kind: Kind,
    readonly reason: string,
    readonly afterMs: u32,
  ) {}
}

export const enum Kind {
  Ack,
  Retry,
  Reject,
}

const ACK = new Verdict(Kind.Ack, "", 0);

/** Acknowledges the message: it is finished once everything sent for it is confirmed by the broker. */
export function ack(): Verdict {
  return ACK;
}

/**
 * The message is handed over again, after the pipeline's `retry.backoff` or `afterMs` milliseconds, whichever is longer,
 * as attempt + 1; `retry.max_delay` is the most it waits, and after `retry.attempts` it is given up. No later message of
 * its partition is handled in between.
 */
export function retry(reason: string, afterMs: u32 = 0): Verdict {
  return new Verdict(Kind.Retry, reason, afterMs);
}

/** The message is given up for good: it goes to the pipeline's dead letters, or wherever `on_exhausted` says. */
export function reject(reason: string): Verdict {
  return new Verdict(Kind.Reject, reason, 0);
}
