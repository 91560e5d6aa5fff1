import { expect, test, vi } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { fixture } from '../../support/servers.js';

/**
 * Eight users and two clients without a name, on servers of every sharing, through both fronts: each server says all it can about each
 * call, and nothing of that may reach another than the one it names. `npm run isolation` makes 50,000 calls of it.
 */
const CALLS = Number(process.env['POOLKIT_ISOLATION_CALLS'] ?? 120);
/** The short form has fewer processes. */
const LONG = CALLS > 1_000;
const USERS = ['u1', 'u2', 'u3', 'u4', 'u5', 'u6', 'u7', 'u8'].slice(0, LONG ? 8 : 3);
const NAMELESS = ['n1', 'n2'].slice(0, LONG ? 2 : 1);
const SHARINGS = ['shared', 'leased', 'bound'] as const;
// Processes start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 + CALLS * 50 });

const HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
const WHO = /\b(?:progress|log|result|error|asks|x:) ?([un]\d)\b/g;

test(`nothing of one principal is heard by another: ${CALLS} calls`, async () => {
  const pool = closeAfter(new StdioPool({ ledger: false, maxConnectionsTotal: 100 }));
  for (const sharing of SHARINGS) {
    const command = { transport: 'stdio', command: process.execPath, args: [fixture('gossip-server.mjs')] } as const;
    pool.addServer({ name: sharing, sharing, maxConnections: 12, ...command });
  }
  const authenticate = async ({ headers }: { headers: Record<string, unknown> }) => {
    return { principal: String(headers['x-user']) };
  };
  const named = closeAfter(new Gateway({ pool, port: 0, authenticate }));
  const open = closeAfter(new Gateway({ pool, port: 0 }));
  const urls = { named: (await named.listen()).url, open: (await open.listen()).url };
  const crossings: string[] = [];
  let heard = 0;
  const control = new AbortController();
  const streams: Promise<void>[] = [];

  const client = async (who: string, sharing: (typeof SHARINGS)[number]) => {
    const anonymous = NAMELESS.includes(who);
    const gateway = anonymous ? open : named;
    const url = `${anonymous ? urls.open : urls.named}/servers/${sharing}/mcp`;
    const own: Record<string, string> = { ...HEADERS, 'x-user': who };
    const exchange = async (method: string, body?: object, viaFetch = false): Promise<Response> => {
      const init = { method, headers: own, ...(body && { body: JSON.stringify({ jsonrpc: '2.0', ...body }) }) };
      const request = new Request(url, method === 'GET' ? { ...init, signal: control.signal } : init);
      return viaFetch ? gateway.fetch(request) : fetch(request);
    };
    const check = (text: string): void => {
      for (const [what, whose] of text.matchAll(WHO)) {
        heard++;
        if (whose !== who) crossings.push(`${who} at ${sharing} heard: ${what}`);
      }
    };
    const capabilities = { sampling: {} };
    const clientInfo = { name: who, version: '1' };
    const params = { protocolVersion: '2025-11-25', capabilities, clientInfo };
    const opened = await exchange('POST', { id: 0, method: 'initialize', params });
    check(await opened.text());
    own['mcp-session-id'] = String(opened.headers.get('mcp-session-id'));
    await exchange('POST', { id: 'level', method: 'logging/setLevel', params: { level: 'debug' } }).then((r) =>
      r.text(),
    );
    const listening = await exchange('GET', undefined, true);
    /** Reads a stream; what is asked on it is answered with the name of the one who answers. */
    const read = async (response: Response): Promise<void> => {
      let text = '';
      for await (const chunk of response.body ?? []) {
        text += Buffer.from(chunk).toString();
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          const event = text.slice(0, end);
          text = text.slice(end + 2);
          check(event);
          const id = /"id":("[^"]*"|\d+),"method":"sampling|"method":"sampling.*"id":("[^"]*"|\d+)/.exec(event);
          const asked = id?.[1] ?? id?.[2];
          if (asked === undefined) continue;
          const result = { role: 'assistant', model: 'm', content: { type: 'text', text: `result ${who}` } };
          void exchange('POST', { id: JSON.parse(asked), result }, true);
        }
      }
      check(text);
    };
    streams.push(read(listening).catch(() => undefined));
    return async (n: number): Promise<void> => {
      const call = {
        name: 'say',
        arguments: { who, n, sample: sharing === 'bound' && n % 4 === 0 },
        _meta: { progressToken: n },
      };
      await read(await exchange('POST', { id: n + 1, method: 'tools/call', params: call }, n % 2 === 0));
      if (n % 11 === 0) check(await (await exchange('POST', { id: `l${n}`, method: 'tools/list' })).text());
    };
  };

  const clients = await Promise.all(
    [...USERS, ...NAMELESS].flatMap((who) => SHARINGS.map((sharing) => client(who, sharing))),
  );
  let n = 0;
  const work = clients.map(async (say) => {
    while (n < CALLS) await say(n++);
  });
  await Promise.all(work);
  control.abort();
  await Promise.all(streams);
  expect(crossings).toEqual([]);
  // Each call has at least its progress and its outcome.
  expect(heard).toBeGreaterThanOrEqual(2 * CALLS);
});
