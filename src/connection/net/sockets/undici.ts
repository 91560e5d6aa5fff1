import { createRequire } from 'node:module';

/**
 * undici's parts by their own files: the package's entry installs a global dispatcher, which changes `fetch` for the whole
 * program on Node 20. Importing a library must not (docs/decisions/136-no-globals.md). `test/connection/net/globals.test.ts`
 * fails when one of these files moves.
 */
const require = createRequire(import.meta.url);
type Undici = typeof import('undici');

export const Agent = require('undici/lib/dispatcher/agent.js') as Undici['Agent'];
export const buildConnector = require('undici/lib/core/connect.js') as Undici['buildConnector'];
export const Pool = require('undici/lib/dispatcher/pool.js') as Undici['Pool'];
export const ProxyAgent = require('undici/lib/dispatcher/proxy-agent.js') as Undici['ProxyAgent'];

/** Under which it keeps the parser of a socket. */
export const { kParser } = require('undici/lib/core/symbols.js') as { readonly kParser: symbol };

const Dispatcher = require('undici/lib/dispatcher/dispatcher.js') as Undici['Dispatcher'];
// A tunnel asks for CONNECT by this method, which only the package's entry adds.
Dispatcher.prototype.connect ??= require('undici/lib/api/api-connect.js') as typeof Dispatcher.prototype.connect;
