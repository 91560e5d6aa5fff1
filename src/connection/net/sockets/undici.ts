import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { join } from 'node:path';

type Undici = typeof import('undici');

/** What is used of undici. */
export interface UndiciParts extends Pick<Undici, 'Agent' | 'buildConnector' | 'Pool' | 'ProxyAgent'> {
  /** Under which it keeps the parser of a socket. */
  readonly kParser: symbol;
}

/** What undici keeps with a socket. */
export interface Parser {
  readonly ptr: number | null;
  readonly llhttp: { llhttp_resume(ptr: number): void };
  /** Of the message that is being read: another array once its headers, or all of it, have come. */
  readonly headers: readonly Buffer[];
  /** Of those. */
  readonly headersSize: number;
  /** Of its body. */
  readonly bytesRead: number;
  paused: boolean;
  /** Whether the socket stays open behind the response. */
  shouldKeepAlive: boolean;
  execute(chunk: Buffer): void;
  onMessageComplete(): number;
  readMore(): void;
  resume(): void;
}

/** That of a socket which undici reads. */
export function parserOf(socket: Socket): Parser | undefined {
  return (socket as unknown as Record<symbol, Parser | null | undefined>)[undici().kParser] ?? undefined;
}

let parts: UndiciParts | undefined;

/**
 * undici's parts by their own files: the package's entry installs a global dispatcher, which changes `fetch` for the whole
 * program on Node 20. Importing a library must not (docs/decisions/136-no-globals.md). `test/connection/net/globals.test.ts`
 * fails when one of these files moves. They are loaded with the first request to a URL: a third of the time that importing the
 * package would take, and programs that have no such servers never need them.
 */
export function undici(): UndiciParts {
  if (parts !== undefined) return parts;
  // In a bundle, which in CommonJS has no URL, it is the undici that the program has beside it.
  const require = createRequire(import.meta.url ?? process.argv[1] ?? join(process.cwd(), 'index.js'));
  const Dispatcher = require('undici/lib/dispatcher/dispatcher.js') as Undici['Dispatcher'];
  // A tunnel asks for CONNECT by this method, which only the package's entry adds.
  Dispatcher.prototype.connect ??= require('undici/lib/api/api-connect.js') as typeof Dispatcher.prototype.connect;
  const { kParser } = require('undici/lib/core/symbols.js') as { readonly kParser: symbol };
  parts = {
    Agent: require('undici/lib/dispatcher/agent.js') as Undici['Agent'],
    buildConnector: require('undici/lib/core/connect.js') as Undici['buildConnector'],
    Pool: require('undici/lib/dispatcher/pool.js') as Undici['Pool'],
    ProxyAgent: require('undici/lib/dispatcher/proxy-agent.js') as Undici['ProxyAgent'],
    kParser,
  };
  return parts;
}
