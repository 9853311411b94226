/**
 * A handler of world `messages` without an SDK, made by componentize-js from wit/handler.wit alone: the reference handler
 * of plugins/CONFORMANCE.md, which does what the header `do` of a message says.
 *
 * The exports of the module are those of the world. What is thrown is the error of the contract's results; an absent
 * value is undefined, and a number of 64 bits a BigInt.
 */

import { write } from 'wasmill:handler/log@0.1.0';

const utf8 = new TextEncoder();
const empty = new Uint8Array();
const PART = 64 * 1024;

let context;
let count = 0;

export function init(given) {
  context = given;
  const refusal = setting('fail');
  if (refusal !== undefined) throw refusal;
}

export function handle(message) {
  const before = count++;
  const command = text(header(message, 'do')) || 'forward';
  const argument = text(header(message, 'arg'));
  switch (command) {
    case 'forward':
      return [forward(message)];
    case 'drop':
      return [];
    case 'copy':
      return [{ ...forward(message), partition: message.partition, timestamp: message.timestamp }];
    case 'upper':
      return [output(message.key, upper(message.value))];
    case 'many':
      return Array.from({ length: Number(argument) }, (_, number) => say(number));
    case 'to':
      return [{ ...output(message.key, message.value), topic: argument }];
    case 'tombstone':
      return [output(message.key)];
    case 'empty':
      return [output(empty, empty, [{ name: '', value: empty }, { name: 'n' }])];
    case 'describe':
      return [say(describe(message))];
    case 'json':
      return [say(nameIn(message.value))];
    case 'retry': {
      if (message.attempt >= Number(argument)) return [forward(message)];
      throw { tag: 'retry', val: [Number(text(header(message, 'after'))), `attempt ${message.attempt}`] };
    }
    case 'reject':
      throw reject(text(message.value));
    case 'crash':
      throw new Error(text(message.value));
    case 'log':
      write(argument, text(message.value));
      return [];
    case 'config': {
      const value = setting(argument);
      if (value === undefined) throw reject(`no setting ${argument}`);
      return [say(value)];
    }
    case 'context':
      return [say(`pipeline=${context.pipeline} group=${context.group} digest=${context.digest}`)];
    case 'count':
      return [say(before)];
    default:
      throw reject(`unknown command ${command}`);
  }
}

function setting(name) {
  return context.config.find(({ key }) => key === name)?.value;
}

/** The value of the last header of that name. */
function header(message, name) {
  return message.headers.findLast((one) => one.name === name)?.value;
}

function text(data) {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(data);
}

function output(key, value, headers = []) {
  return { key, value, headers };
}

function forward({ key, value, headers }) {
  return output(key, value, headers);
}

function say(what) {
  return output(undefined, utf8.encode(what));
}

function reject(reason) {
  return { tag: 'reject', val: reason };
}

/** ASCII letters only. The engine interprets: its own functions are many times faster than a loop over bytes. */
function upper(data) {
  const copy = data?.slice();
  // In parts: what a string of megabytes becomes letter by letter would not fit into memory.
  for (let at = 0; at < copy?.length; at += PART) raise(copy.subarray(at, at + PART));
  return copy;
}

function raise(part) {
  let all;
  try {
    all = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(part);
  } catch {
    // No text, or a character across two parts.
    part.forEach((byte, at) => (part[at] = byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte));
    return;
  }
  for (const letter of 'abcdefghijklmnopqrstuvwxyz') all = all.replaceAll(letter, letter.toUpperCase());
  utf8.encodeInto(all, part);
}

const size = (data) => (data === undefined ? 'absent' : data.length);

function describe(message) {
  const { topic, partition, offset, timestamp, attempt, key, value, headers } = message;
  const all = headers.map((one) => `${one.name}:${size(one.value)}`).join(',');
  return (
    `topic=${topic} partition=${partition} offset=${offset} timestamp=${timestamp ?? 'none'} ` +
    `attempt=${attempt} key=${size(key)} value=${size(value)} headers=${all}`
  );
}

/** The text of the field `name` of a JSON object. */
function nameIn(value) {
  let name;
  try {
    ({ name } = JSON.parse(text(value)));
  } catch {
    // Whatever it is, it has no name.
  }
  if (typeof name !== 'string') throw reject('no name');
  return name;
}
