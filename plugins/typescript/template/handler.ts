/** A wasmill handler. Begin here: this one sends every value on in upper case. */

import { handler, type Context, type Message, type Outputs } from './../sdk/index.js';

class MyHandler {
  #suffix = '';

  /** Once for each instance. What it throws keeps the pipeline from starting and is shown as it is. */
  init(context: Context) {
    context.only(['suffix']);
    this.#suffix = context.config('suffix') ?? '';
  }

  /** Once for each message. An error that is thrown rejects the message. */
  handle(message: Message, out: Outputs) {
    out.send(message.key, message.text().toUpperCase() + this.#suffix);
  }
}

export default handler(MyHandler);
