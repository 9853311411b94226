/** A wasmill handler. Begin here: this one sends every value on in upper case. */

import { handler } from './../sdk/index.js';

export default handler(
  class {
    /** Once for each instance. What it throws keeps the pipeline from starting and is shown as it is. */
    init(context) {
      context.only(['suffix']);
      this.suffix = context.config('suffix') ?? '';
    }

    /** Once for each message. An error that is thrown rejects the message. */
    handle(message, out) {
      out.send(message.key, message.text().toUpperCase() + this.suffix);
    }
  },
);
