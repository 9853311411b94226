/** What a handler throws when a message is not to be acknowledged. */

/** The most of an uncaught error's text and stack that becomes the reason of a rejection, in characters. */
const DESCRIPTION = 4096;

/** The longest delay that the contract can say, in milliseconds. */
const LONGEST = 0xffff_ffff;

/** The message is given up for good: it goes to the dead letters, or wherever `on_exhausted` says. */
export class Reject extends Error {
  /**
   * @param {string} reason
   * @param {ErrorOptions} [options]
   */
  constructor(reason, options) {
    super(reason, options);
    this.name = 'Reject';
  }
}

/** The message is handed over again, as `attempt` + 1, and no later one of its partition before it. */
export class Retry extends Error {
  /**
   * @param {string} reason
   * @param {ErrorOptions & { after?: number }} [options] `after`: not before so many milliseconds have passed.
   */
  constructor(reason, options) {
    super(reason, options);
    this.name = 'Retry';
    const after = options?.after ?? 0;
    if (!(after >= 0)) throw new RangeError(`a retry after ${after} ms: not a delay`);
    this.after = Math.min(Math.ceil(after), LONGEST);
  }
}

/**
 * An error that nobody foresaw, as text: what it says, and where it was thrown.
 *
 * @param {unknown} error
 */
export function describe(error) {
  let text = String(error);
  if (error instanceof Error && error.stack) {
    // V8 begins a stack with the error's text, QuickJS does not.
    text = error.stack.startsWith(text) ? error.stack : `${text}\n${error.stack}`;
  }
  return text.slice(0, DESCRIPTION).trimEnd();
}
