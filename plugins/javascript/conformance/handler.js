/** The reference handler: every SDK has one that does the same. A message's header `do` says what to do with
 * it, or without one the setting `do`. */

import { handler, log, Reject, Retry, Topic } from './../sdk/index.js';

const length = (bytes) => (bytes === null ? 'absent' : bytes.length);

class Reference {
  handed = 0;

  init(context) {
    const refusal = context.config('fail');
    if (refusal !== undefined) throw new Error(refusal);
    this.context = context;
    // The command of messages without one of their own.
    this.standing = context.config('do') ?? 'forward';
  }

  handle(message, out) {
    const before = this.handed++;
    const command = message.headerText('do') ?? this.standing;
    switch (command) {
      case 'forward':
        return out.forward(message);
      case 'drop':
        return;
      case 'copy':
        return copy(message, out);
      case 'upper':
        return out.send(message.key, upper(message));
      case 'many':
        for (let index = 0; index < Number(argument(message)); index++) out.send(null, String(index));
        return;
      case 'to':
        return out.send(message.key, message.value, { topic: Topic.named(argument(message)) });
      case 'tombstone':
        return out.send(message.key, null);
      case 'empty':
        return out.send('', '', { headers: [['', ''], ['n', null]] });
      case 'describe':
        return out.send(null, describe(message));
      case 'retry':
        return retry(message, out);
      case 'reject':
        throw new Reject(new TextDecoder('utf-8', { ignoreBOM: true }).decode(message.value ?? new Uint8Array()));
      case 'log':
        return log[argument(message)](message.text());
      case 'config':
        return out.send(null, this.setting(argument(message)));
      case 'context': {
        const { pipeline, group, digest } = this.context;
        return out.send(null, `pipeline=${pipeline} group=${group} digest=${digest}`);
      }
      case 'count':
        return out.send(null, String(before));
      case 'json':
        return out.send(null, nameIn(message));
      case 'crash':
        throw new Error(message.text());
      default:
        throw new Reject(`unknown command ${command}`);
    }
  }

  setting(name) {
    const value = this.context.config(name);
    if (value === undefined) throw new Reject(`no setting ${name}`);
    return value;
  }
}

function argument(message) {
  return message.headerText('arg') ?? '';
}

function copy(message, out) {
  out.send(message.key, message.value, {
    headers: [...message.headers],
    timestamp: message.timestampBig ?? undefined,
    partition: message.partition,
  });
}

function upper(message) {
  const { value } = message;
  if (value === null) return null;
  // A loop over bytes is slow in QuickJS, and toUpperCase does more than ASCII letters: it is for ASCII alone.
  const text = asciiText(message, value.length);
  return text?.toUpperCase() ?? value.map((byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte));
}

/** The value as text if all of its bytes are ASCII: it then has as many characters. */
function asciiText(message, length) {
  try {
    const text = message.text();
    return text.length === length ? text : null;
  } catch {
    return null;
  }
}

function describe(message) {
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

function retry(message, out) {
  if (message.attempt >= Number(argument(message))) return out.forward(message);
  const after = message.headerText('after');
  throw new Retry(`attempt ${message.attempt}`, after === null ? {} : { after: Number(after) });
}

function nameIn(message) {
  let name;
  try {
    ({ name } = JSON.parse(message.text()));
  } catch {
    // Whatever it is, it has no name.
  }
  if (typeof name !== 'string') throw new Reject('no name');
  return name;
}

export default handler(Reference);
