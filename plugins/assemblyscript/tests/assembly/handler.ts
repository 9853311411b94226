// A handler for tests/sdk.test.mjs: its values say what it does.

import {
  Context,
  Handler,
  Message,
  Outputs,
  Topic,
  Verdict,
  ack,
  bytesOf,
  log,
  register,
  reject,
  retry,
  wrap,
} from "../../sdk";

export { cabi_realloc, handle, init } from "../../sdk/exports";

class Tester extends Handler {
  private b: Topic = Topic.DEFAULT;
  private suffix: string = "";
  private seen: i32 = 0;

  init(context: Context): void {
    context.only(["suffix", "limit"]);
    this.suffix = context.require("suffix");
    this.b = context.topic("b");
    log.info(`counting for ${context.pipeline}`);
  }

  handle(message: Message, out: Outputs): Verdict {
    this.seen++;
    const text = message.text();
    if (text === null) return message.notText();
    if (text == "forward") out.forward(message);
    else if (text == "detailed") this.detailed(message, out);
    else if (text == "mixed") mixed(message, out);
    else if (text == "drafts") drafts(message, out);
    else if (text == "many") many(message, out);
    else if (text == "count") out.send(null, bytesOf(this.seen.toString() + this.suffix));
    else if (text == "look") out.send(null, bytesOf(look(message)));
    else if (text == "lossy") return reject(message.header("h")!.toString() + " " + String.fromCharCode(0xd800));
    else if (text == "bad") return sendAnd(message, out, reject("is bad"));
    else if (text == "wait") return sendAnd(message, out, retry("attempt " + message.attempt.toString(), 30));
    else if (text == "garbage") garbage();
    else throw new Error("what is " + text);
    return ack();
  }

  private detailed(message: Message, out: Outputs): void {
    out
      .to(this.b)
      .key(bytesOf("own"))
      .value(message.value)
      .header(bytesOf("first"), bytesOf(""))
      .headersOf(message)
      .header(bytesOf("last"), null)
      .timestamp(5 << 32)
      .partition(9)
      .send();
    out.to(Topic.DEFAULT).headersOf(message).header(bytesOf("last"), message.key).send();
    out.to(this.b).key(message.key).headersOf(message).send();
  }
}

register(new Tester());

/** Parts of the input, copies of them and own bytes. An edited copy must not be taken for the input. */
function mixed(message: Message, out: Outputs): void {
  const value = message.value!;
  const copy = value.toArray();
  copy[0] = 0x4d;
  out.send(value.slice(1, 3), wrap(copy));
  out.send(bytesOf("own key"), value.slice(3));
  out.send(value.slice(5), value.copy());
  out.send(value.slice(2, 1), value.slice(-1, 99));
}

function drafts(message: Message, out: Outputs): void {
  out.to(Topic.DEFAULT).value(bytesOf("no")).header(bytesOf("no"), bytesOf("no"));
  const draft = out.to(Topic.DEFAULT).value(bytesOf("yes")).header(bytesOf("n"), bytesOf("1"));
  out.forward(message);
  draft.header(bytesOf("m"), message.key).send();
}

function many(message: Message, out: Outputs): void {
  const padding = wrap(new Uint8Array(1000));
  for (let i = 0; i < 3000; i++) {
    const number = bytesOf(i.toString());
    out.to(Topic.DEFAULT).key(number).value(padding).headersOf(message).header(bytesOf("n"), number).send();
  }
  for (let i = 0; i < 20000; i++) out.forward(message);
}

function look(message: Message): string {
  let text = `${message.topic}/${message.partition}/${message.offset} ${message.timestamp} ${message.attempt}`;
  const headers = message.headers();
  for (let i = 0; i < headers.length; i++) {
    const value = headers[i].value;
    text += ` ${headers[i].name}=` + (value === null ? "absent" : value.toString());
  }
  const last = message.header("ä");
  return text + " last=" + (last === null ? "absent" : last.toString());
}

function sendAnd(message: Message, out: Outputs, verdict: Verdict): Verdict {
  out.send(null, bytesOf("lost"));
  out.forward(message);
  return verdict;
}

/** 100 MB, 10 kB at a time. */
function garbage(): void {
  let length = 0;
  for (let i = 0; i < 10000; i++) length += new Uint8Array(10000).length;
  if (length != 100000000) throw new Error("miscounted");
}
