/**
 * Makes build/handler.wasm of the project in the current folder: `npm run build`.
 *
 * 1. esbuild bundles the handler, the SDK and what either imports into build/bundle.js.
 * 2. componentize-qjs runs that in QuickJS until the handler waits for messages, and keeps the engine as it stands.
 * 3. `wrap.component` is put around it, which gives it the contract's exports.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const sdk = dirname(fileURLToPath(import.meta.url));
const bundle = resolve('build/bundle.js');
const component = resolve('build/handler.wasm');

const handler = ['handler.js', 'handler.ts'].map((name) => resolve(name)).find((path) => existsSync(path));
if (!handler) fail('there is no handler.js or handler.ts in this folder');

const esbuild = await tool('esbuild');
const { componentize } = await tool('componentize-qjs');

try {
  await esbuild.build({
    entryPoints: [join(sdk, 'entry.js')],
    alias: { 'wasmill-user-handler': handler },
    external: ['wasmill:handler/*', 'wasmill:javascript/*'],
    bundle: true,
    format: 'esm',
    // Neither a browser nor Node: packages are asked for their ES modules.
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2023',
    outfile: bundle,
    logLevel: 'warning',
  });
} catch {
  process.exit(1); // esbuild has said why.
}

try {
  const guest = await componentize({
    witPath: join(sdk, 'wit'),
    world: 'guest',
    jsSource: readFileSync(bundle, 'utf8'),
    jsPath: bundle,
    sync: true,
    stubWasi: true,
  });
  writeFileSync(component, wrap(readFileSync(join(sdk, 'wrap.component')), guest.component));
} catch (error) {
  fail(error.message);
}

/**
 * A tool of the project, which is not where this file's own imports would be looked for.
 *
 * @param {string} name
 */
async function tool(name) {
  try {
    const path = createRequire(resolve('package.json')).resolve(name);
    return await import(pathToFileURL(path).href);
  } catch (error) {
    fail(error.code === 'MODULE_NOT_FOUND' ? `${name} is not installed; run \`npm ci\` in this folder` : error.message);
  }
}

/**
 * Puts a component in the place of the empty one in `wrapper`.
 *
 * @param {Buffer} wrapper
 * @param {Buffer} guest
 */
function wrap(wrapper, guest) {
  // A section of a nested component has number 4, then its size; the empty one is a preamble of 8 bytes.
  const empty = Buffer.from([4, 8, 0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00]);
  const at = wrapper.indexOf(empty);
  return Buffer.concat([
    wrapper.subarray(0, at),
    Buffer.from([4, ...leb128(guest.length)]),
    guest,
    wrapper.subarray(at + empty.length),
  ]);
}

/**
 * A size as WebAssembly writes it.
 *
 * @param {number} size
 */
function leb128(size) {
  const bytes = [];
  for (; size > 0x7f; size >>>= 7) bytes.push((size & 0x7f) | 0x80);
  bytes.push(size);
  return bytes;
}

/**
 * @param {string} reason
 * @returns {never}
 */
function fail(reason) {
  console.error(`build failed: ${reason}`);
  process.exit(1);
}
