/**
 * World `guest` of wit/guest.wit, as componentize-qjs wants it: the world's exports are this module's. The build
 * bundles it with the user's handler, which it puts in the place of `wasmill-user-handler`.
 */

import './globals.js';
import { write } from 'wasmill:handler/log@0.1.0';
import { emit, fail } from 'wasmill:handler/outcome@0.1.0';
import { number, sourceName } from 'wasmill:handler/topics@0.1.0';
import { decode, encode } from 'wasmill:javascript/text';
import definition from 'wasmill-user-handler';
import { Context } from './context.js';
import { Instance, refusal } from './handler.js';
import { connect } from './host.js';
import { use } from './utf8.js';

connect({ emit, fail, write, number, sourceName });

/** @type {Instance} */
let instance;

/**
 * What is thrown here is the error of the contract's `result`.
 *
 * @param {string} pipeline
 * @param {string} group
 * @param {string} digest
 * @param {[key: string, value: string][]} settings
 */
export function start(pipeline, group, digest, settings) {
  // Not before: at the build, when this module is loaded, imports cannot be called.
  use({ decode, encode });
  try {
    instance = new Instance(definition, new Context(pipeline, group, digest, settings));
  } catch (error) {
    throw refusal(error).toWellFormed();
  }
}

/**
 * @param {number} source
 * @param {number} partition
 * @param {Uint8Array} data
 * @param {Uint8Array} table
 * @param {number} stride
 * @param {number} count
 */
export function handle(source, partition, data, table, stride, count) {
  const words = new Uint32Array(table.buffer, table.byteOffset, table.byteLength >> 2);
  return instance.handle(source, partition, data, words, stride, count);
}
