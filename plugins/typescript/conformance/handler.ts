/** The reference handler: every SDK has one that does the same. A message's header `do` says what to do with
 * it, or without one the setting `do`. */

import { handler, log, Reject, Retry, Topic, type Context, type Message, type Outputs } from './../sdk/index.js';

type Act = (message: Message, out: Outputs) => void;

class Reference {
  #context!: Context;
  #handed = 0;
  /** The command of messages without one of their own. */
  #standing = 'forward';

  init(context: Context) {
    const refusal = context.config('fail');
    if (refusal !== undefined) throw new Error(refusal);
    this.#context = context;
    this.#standing = context.config('do') ?? 'forward';
  }

  handle(message: Message, out: Outputs) {
    const command = message.headerText('do') ?? this.#standing;
    const act = this.#commands.get(command);
    const handed = this.#handed++;
    if (command === 'count') return out.send(null, String(handed));
    if (!act) throw new Reject(`unknown command ${command}`);
    act(message, out);
  }

  readonly #commands = new Map<string, Act>([
    ['forward', (message, out) => out.forward(message)],
    ['drop', () => {}],
    ['copy', copy],
    ['upper', (message, out) => out.send(message.key, upper(message))],
    ['many', many],
    ['to', (message, out) => out.send(message.key, message.value, { topic: Topic.named(argument(message)) })],
    ['tombstone', (message, out) => out.send(message.key, null)],
    ['empty', (_, out) => out.send('', '', { headers: [['', ''], ['n', null]] })],
    ['describe', (message, out) => out.send(null, describe(message))],
    ['retry', retry],
    ['reject', (message) => { throw new Reject(lossy(message.value)); }],
    ['log', (message) => log[argument(message) as keyof typeof log](message.text())],
    ['config', (message, out) => out.send(null, this.#setting(argument(message)))],
    ['context', (_, out) => {
      const { pipeline, group, digest } = this.#context;
      out.send(null, `pipeline=${pipeline} group=${group} digest=${digest}`);
    }],
    ['json', (message, out) => out.send(null, nameIn(message))],
    ['crash', (message) => { throw new Error(message.text()); }],
  ]);

  #setting(name: string): string {
    const value = this.#context.config(name);
    if (value === undefined) throw new Reject(`no setting ${name}`);
    return value;
  }
}

function argument(message: Message): string {
  return message.headerText('arg') ?? '';
}

function copy(message: Message, out: Outputs) {
  out.send(message.key, message.value, {
    headers: [...message.headers],
    timestamp: message.timestampBig ?? undefined,
    partition: message.partition,
  });
}

function many(message: Message, out: Outputs) {
  const count = Number(argument(message));
  for (let index = 0; index < count; index++) out.send(null, String(index));
}

function upper(message: Message): string | Uint8Array | null {
  const { value } = message;
  if (value === null) return null;
  // A loop over bytes is slow in QuickJS, and toUpperCase does more than ASCII letters: it is for ASCII alone.
  const text = asciiText(message, value.length);
  return text?.toUpperCase() ?? value.map((byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte));
}

/** The value as text if all of its bytes are ASCII: it then has as many characters. */
function asciiText(message: Message, length: number): string | null {
  try {
    const text = message.text();
    return text.length === length ? text : null;
  } catch {
    return null;
  }
}

function describe(message: Message): string {
  const length = (bytes: Uint8Array | null) => (bytes === null ? 'absent' : bytes.length);
  const headers = Array.from(message.headers, ({ name, value }) => `${name}:${length(value)}`);
  return [
    `topic=${message.topic}`,
    `partition=${message.partition}`,
    `offset=${message.offsetBig}`,
    `timestamp=${message.timestampBig ?? 'none'}`,
    `attempt=${message.attempt}`,
    `key=${length(message.key)}`,
    `value=${length(message.value)}`,
    `headers=${headers.join(',')}`,
  ].join(' ');
}

function retry(message: Message, out: Outputs) {
  if (message.attempt >= Number(argument(message))) return out.forward(message);
  const after = message.headerText('after');
  throw new Retry(`attempt ${message.attempt}`, after === null ? {} : { after: Number(after) });
}

function lossy(bytes: Uint8Array | null): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes ?? new Uint8Array());
}

function nameIn(message: Message): string {
  let name: unknown;
  try {
    ({ name } = JSON.parse(message.text()));
  } catch {
    // Whatever it is, it has no name.
  }
  if (typeof name !== 'string') throw new Reject('no name');
  return name;
}

export default handler(Reference);
