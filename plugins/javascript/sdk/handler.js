/** A handler, and the loop that takes it through a batch. */

import { fail, write } from './host.js';
import { Batch, Message } from './message.js';
import { Outputs } from './outputs.js';
import { describe, Reject, Retry } from './verdict.js';

/**
 * Says what the handler is: a function over a message, an object with `handle` and perhaps `init`, or a class of such
 * objects. Hands it back as it is; with it an editor knows the types of `message` and `out`.
 *
 * @template {import('./index.js').HandlerDefinition} H
 * @param {H} definition
 * @returns {H}
 */
export function handler(definition) {
  return definition;
}

/** A started handler. */
export class Instance {
  #handler;
  #out = new Outputs();

  /**
   * Throws what the handler's `init` throws.
   *
   * @param {import('./index.js').HandlerDefinition} definition
   * @param {import('./context.js').Context} context
   */
  constructor(definition, context) {
    this.#handler = materialize(definition);
    if (isAsync(this.#handler.handle) || isAsync(this.#handler.init)) {
      throw new Error('a handler cannot be async: there is nothing to wait for in the sandbox');
    }
    this.#handler.init?.(context);
  }

  /**
   * Takes the handler through a batch, given as in the contract; returns how many messages it reached.
   *
   * @param {number} source
   * @param {number} partition
   * @param {Uint8Array} data
   * @param {Uint32Array} table
   * @param {number} stride
   * @param {number} count
   */
  handle(source, partition, data, table, stride, count) {
    const batch = new Batch(source, partition, data, table, stride, count);
    const message = new Message(batch);
    const handler = this.#handler;
    const out = this.#out;
    Outputs.begin(out, batch);
    while (batch.index < count) {
      let retry = false;
      try {
        const result = handler.handle(message, out);
        if (result !== undefined) refusePromise(result);
      } catch (error) {
        Outputs.drop(out);
        settle(batch.index, error);
        retry = error instanceof Retry;
      }
      batch.index++;
      batch.row += stride;
      // Whatever came after would overtake this message; the host would discard it.
      if (retry) break;
    }
    Outputs.flush(out);
    return batch.index;
  }
}

/**
 * Why a handler did not start, as the operator is shown it: the text of an error that was thrown on purpose, and of any
 * other one (a TypeError, say) also where it was thrown.
 *
 * @param {unknown} error
 */
export function refusal(error) {
  const meant = error instanceof Reject || (error instanceof Error && error.constructor === Error);
  return meant ? error.message : describe(error);
}

/** @param {any} definition */
function materialize(definition) {
  if (typeof definition === 'function') {
    const isClass = typeof definition.prototype?.handle === 'function';
    return isClass ? new definition() : { handle: definition };
  }
  if (typeof definition?.handle === 'function') return definition;
  throw new Error('the handler module has no default export with a `handle`: `export default handler(…)`');
}

/** @param {unknown} candidate */
function isAsync(candidate) {
  return Object.prototype.toString.call(candidate) === '[object AsyncFunction]';
}

/** @param {any} result */
function refusePromise(result) {
  if (typeof result?.then === 'function') {
    throw new TypeError('handle returned a promise: a handler cannot be async, nobody would wait for it');
  }
}

/**
 * Says that a message is not acknowledged.
 *
 * @param {number} index
 * @param {unknown} error
 */
function settle(index, error) {
  if (error instanceof Retry) {
    fail(index, error.after, error.message);
  } else if (error instanceof Reject) {
    fail(index, null, error.message);
  } else if (isOutOfMemory(error)) {
    // Not this message's doing alone: an uncaught error ends the instance, and a new one is handed the batch again.
    write('error', error === null ? 'out of memory' : describe(error));
    throw error;
  } else {
    fail(index, null, describe(error));
  }
}

/**
 * QuickJS throws null if there is not even memory for the error.
 *
 * @param {unknown} error
 */
function isOutOfMemory(error) {
  if (error === null) return true;
  return error instanceof Error && error.name === 'InternalError' && error.message === 'out of memory';
}
