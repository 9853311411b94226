// The reference handler: it does what each message's header `do` says, or without one the setting `do`, so that a test of
// the host can ask for everything a handler can do. The same in every language's SDK.

import {
  Bytes,
  Context,
  Handler,
  Header,
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
import { nameOf } from "./json";

export { cabi_realloc, handle, init } from "../../sdk/exports";

class Reference extends Handler {
  private context!: Context;
  /** Messages handed to this instance so far. */
  private seen: u64 = 0;
  /** The command of messages without one of their own. */
  private standing: string = "forward";

  init(context: Context): void {
    this.context = context;
    const standing = context.config("do");
    if (standing !== null) this.standing = standing;
    const text = context.config("fail");
    if (text !== null) context.refuse(text);
  }

  handle(message: Message, out: Outputs): Verdict {
    const seen = this.seen++;
    const named = message.header("do");
    const command = named === null ? this.standing : named.toString();
    if (command == "forward") out.forward(message);
    else if (command == "drop") return ack();
    else if (command == "copy") copy(message, out);
    else if (command == "upper") out.send(message.key, upper(message.value));
    else if (command == "many") many(<i32>parseInt(argument(message)), out);
    else if (command == "to") return to(message, out, argument(message));
    else if (command == "tombstone") out.send(message.key, null);
    else if (command == "empty") empty(out);
    else if (command == "describe") out.send(null, bytesOf(describe(message)));
    else if (command == "retry") return again(message, out, <u32>parseInt(argument(message)));
    else if (command == "reject") return reject(valueText(message));
    else if (command == "log") return write(argument(message), valueText(message));
    else if (command == "config") return this.config(argument(message), out);
    else if (command == "context") out.send(null, bytesOf(this.describe()));
    else if (command == "count") out.send(null, bytesOf(seen.toString()));
    else if (command == "json") return json(message, out);
    else if (command == "crash") throw new Error(valueText(message));
    else return reject(`unknown command ${command}`);
    return ack();
  }

  private config(key: string, out: Outputs): Verdict {
    const value = this.context.config(key);
    if (value === null) return reject(`no setting ${key}`);
    out.send(null, bytesOf(value));
    return ack();
  }

  private describe(): string {
    const context = this.context;
    return `pipeline=${context.pipeline} group=${context.group} digest=${context.digest}`;
  }
}

register(new Reference());

function argument(message: Message): string {
  const given = message.header("arg");
  return given === null ? "" : given.toString();
}

function copy(message: Message, out: Outputs): void {
  const key = message.key;
  const value = message.value;
  const draft = out
    .to(Topic.DEFAULT)
    .key(key === null ? null : key.copy())
    .value(value === null ? null : value.copy());
  const headers = message.headers();
  for (let i = 0; i < headers.length; i++) {
    const header = headers[i];
    const part = header.value;
    draft.header(header.name.copy(), part === null ? null : part.copy());
  }
  if (message.timestamp != -1) draft.timestamp(message.timestamp);
  draft.partition(message.partition).send();
}

/**
 * ASCII letters in upper case. Sixteen bytes at a time and through addresses: a loop over an array's elements takes many
 * times longer, because each access tells the collector about the array.
 */
function upper(value: Bytes | null): Bytes | null {
  if (value === null) return null;
  const array = value.toArray();
  const end = array.dataStart + <usize>array.length;
  let at = array.dataStart;
  for (; at + 16 <= end; at += 16) {
    const block = v128.load(at);
    const lower = i8x16.lt_u(i8x16.sub(block, i8x16.splat(0x61)), i8x16.splat(26));
    v128.store(at, v128.xor(block, v128.and(lower, i8x16.splat(0x20))));
  }
  for (; at < end; at++) {
    const byte = load<u8>(at);
    if (byte >= 0x61 && byte <= 0x7a) store<u8>(at, byte - 0x20);
  }
  return wrap(array);
}

function many(count: i32, out: Outputs): void {
  for (let i = 0; i < count; i++) out.send(null, bytesOf(i.toString()));
}

function to(message: Message, out: Outputs, name: string): Verdict {
  const topic = Topic.named(name);
  if (topic === null) return reject(Topic.refusal);
  out.to(topic).key(message.key).value(message.value).send();
  return ack();
}

function empty(out: Outputs): void {
  const nothing = bytesOf("");
  out.to(Topic.DEFAULT).key(nothing).value(nothing).header(nothing, nothing).header(bytesOf("n"), null).send();
}

function again(message: Message, out: Outputs, enough: u32): Verdict {
  if (message.attempt >= enough) {
    out.forward(message);
    return ack();
  }
  const after = message.header("after");
  return retry(`attempt ${message.attempt}`, after === null ? 0 : <u32>parseInt(after.toString()));
}

function write(level: string, line: string): Verdict {
  if (level == "trace") log.trace(line);
  else if (level == "debug") log.debug(line);
  else if (level == "info") log.info(line);
  else if (level == "warn") log.warn(line);
  else if (level == "error") log.error(line);
  else return reject(`unknown level ${level}`);
  return ack();
}

function json(message: Message, out: Outputs): Verdict {
  const text = message.text();
  if (text === null) return reject("no name");
  const name = nameOf(text);
  if (name === null) return reject("no name");
  out.send(null, bytesOf(name));
  return ack();
}

/** The value as text, whatever it is. */
function valueText(message: Message): string {
  const value = message.value;
  return value === null ? "" : value.toString();
}

function describe(message: Message): string {
  const at = message.timestamp;
  const timestamp = at == -1 ? "none" : at.toString();
  const headers = message.headers().map<string>((header: Header) => `${header.name}:${size(header.value)}`);
  return (
    `topic=${message.topic} partition=${message.partition} offset=${message.offset} timestamp=${timestamp}` +
    ` attempt=${message.attempt} key=${size(message.key)} value=${size(message.value)} headers=${headers.join(",")}`
  );
}

function size(bytes: Bytes | null): string {
  return bytes === null ? "absent" : bytes.length.toString();
}
