// A wasmill handler. Begin here: this one sends every value on in upper case.

import { Context, Handler, Message, Outputs, Verdict, ack, bytesOf, register } from "../../sdk";

// What the host calls.
export { cabi_realloc, handle, init } from "../../sdk/exports";

class MyHandler extends Handler {
  suffix: string = "";

  /** Once for each instance. What `context` refuses keeps the pipeline from starting. */
  init(context: Context): void {
    context.only(["suffix"]);
    this.suffix = context.config("suffix") || "";
  }

  /** Once for each message. */
  handle(message: Message, out: Outputs): Verdict {
    const text = message.text();
    if (text === null) return message.notText();
    out.send(message.key, bytesOf(text.toUpperCase() + this.suffix));
    return ack();
  }
}

register(new MyHandler());
