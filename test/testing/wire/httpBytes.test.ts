import { gunzipSync } from 'node:zlib';
import { beforeEach, expect, test } from 'vitest';
import { type FakeServer, fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { FAULT_NAMES, FAULTS, type Fault } from '../../../src/testing/faults/faultTable.js';
import type { FaultRule } from '../../../src/testing/faults/rule/FaultRule.js';
import { readBody } from '../../../src/testing/wire/http/readBody.js';
import { closeAfter } from '../../support/closeAfter.js';
import { effectsIn } from '../../support/faultRuns.js';
import { joined, postTo, type RawResponse, responseIn, utf8 } from '../../support/rawHttp.js';
import { RawSocket } from '../../support/tcp.js';

/** Bytes of Streamable HTTP faults as a client without any toolkit reads them off its socket. */

let server: FakeServer;
let port: number;

beforeEach(async () => {
  server = closeAfter(fakeServer({ name: 's' }));
  ({ port } = await server.listen());
});

const ANSWER = '{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"grüße"}]}}';

const post = (message: object, headers?: readonly string[]) => postTo(port, message, headers);

const call = (text = 'grüße', id = 7, name = 'echo') =>
  post({ id, method: 'tools/call', params: { name, arguments: { text } } });

/** The whole response. */
async function whole(socket: RawSocket): Promise<RawResponse> {
  const raw = await socket.until((text) => responseIn(text) !== undefined);
  return responseIn(raw) as RawResponse;
}

/** What has come when the connection is over, and how it ended. */
async function cut(socket: RawSocket): Promise<{ readonly text: string; readonly ended: string | undefined }> {
  const ended = await socket.over();
  return { text: utf8(socket.text), ended };
}

const plan = (fault: Fault, settings: Partial<FaultRule> = {}) => server.plan.add({ fault, ...settings });

const answered = async (status = 200): Promise<void> => {
  expect((await whole(call('next', 8))).status).toBe(status);
};

const event = (data: string): string => `event: message\ndata: ${data}\n\n`;

const effects = (): number => effectsIn(server.events).length;

const SEES: Readonly<Partial<Record<Fault, () => Promise<void>>>> = {
  async delay() {
    plan('delay', { delayMs: 40, nth: 1 });
    const socket = call();
    await answered();
    expect([socket.text, (await whole(socket)).body]).toEqual(['', ANSWER]);
  },
  async drop() {
    plan('drop', { nth: 1 });
    const socket = call();
    await answered();
    expect([socket.text, effects()]).toEqual(['', 1]);
  },
  async dropAnswer() {
    plan('dropAnswer', { nth: 1 });
    const socket = call();
    await answered();
    expect([socket.text, effects()]).toEqual(['', 2]);
  },
  async hang() {
    plan('hang', { nth: 1 });
    const socket = call();
    await answered();
    expect([socket.text, effects()]).toEqual(['', 2]);
    await socket.close();
    await expect.poll(() => server.events.at(-1)).toMatchObject({ phase: 'cancelled' });
  },
  async stall() {
    plan('stall', { nth: 1 });
    const socket = call();
    await answered();
    expect([socket.text, effects()]).toEqual(['', 2]);
  },
  async duplicate() {
    plan('duplicate');
    expect((await whole(call())).body).toBe(event(ANSWER) + event(ANSWER));
  },
  async outOfOrder() {
    plan('outOfOrder', { nth: 1, delayMs: 60_000 });
    const first = call('first');
    await expect.poll(effects).toBe(1);
    expect(first.text).toBe('');
    await answered();
    expect((await whole(first)).body).toContain('"text":"first"');
  },
  async wrongId() {
    plan('wrongId', { nth: 2 });
    await whole(call('before', 5));
    const socket = call();
    const text = await socket.until((all) => all.includes('\n\n'));
    expect([text.includes('"id":5'), text.includes('"id":7')]).toEqual([true, false]);
  },
  async unknownId() {
    plan('unknownId');
    expect(await call().until((all) => all.includes('\n\n'))).toContain('"id":987654321');
  },
  async truncate() {
    plan('truncate');
    const { text } = await cut(call());
    expect(text).toMatch(/data: \{"jsonrpc":"2\.0","id":7/);
    expect(text).not.toContain('grüße');
  },
  async coalesce() {
    plan('coalesce');
    expect((await whole(call())).body).toMatch(/notifications\/message.*\n\nevent: message\ndata: .*grüße/s);
  },
  async splitCharacter() {
    plan('splitCharacter');
    const socket = call();
    const { body } = await whole(socket);
    expect(body).toBe(event(ANSWER));
    // One chunk of the transfer ends within the ü.
    expect(socket.text).toMatch(/gr\xc3\r\n[\da-f]+\r\n\xbc\xc3\x9fe/);
  },
  async oversize() {
    plan('oversize', { bytes: 100_000 });
    expect((await whole(call())).bytes.length).toBeGreaterThan(100_000);
  },
  async garbage() {
    plan('garbage', { count: 2 });
    const [first, second, third] = (await whole(call())).body.split('\n\n').map((each) => each.split('data: ')[1]);
    expect([first, second, third]).toEqual(['[info] listening', 'Debugger attached.', ANSWER]);
  },
  async corrupt() {
    plan('corrupt');
    expect(await call().until((all) => all.includes('\n\n'))).toContain('data: {"jsonrpc":"2.0","id":7}\n\n');
  },
  async lie() {
    plan('lie');
    expect((await whole(call())).body).toBe(ANSWER.replace('grüße', 'eßürg (a lie)'));
  },
  async error() {
    plan('error', { code: -32001, message: 'no', data: { n: 1 } });
    const error = '{"code":-32001,"message":"no","data":{"n":1}}';
    expect((await whole(call())).body).toContain(`{"jsonrpc":"2.0","id":7,"error":${error}}`);
    expect(effects()).toBe(0);
  },
  async crash() {
    plan('crash', { nth: 1 });
    expect(await cut(call())).toEqual({ text: '', ended: 'ECONNRESET' });
    await answered();
    expect(effects()).toBe(2);
  },
  async exit() {
    plan('exit', { nth: 1 });
    expect((await cut(call())).text).toBe('');
    await answered();
    expect(effects()).toBe(2);
  },
  async refuse() {
    plan('refuse');
    const init = post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18' } });
    expect(await whole(init)).toMatchObject({ status: 503, body: 'the fault plan refused it' });
  },
  async slowStart() {
    plan('slowStart', { delayMs: 40 });
    const init = post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18' } });
    await answered();
    expect(init.text).toBe('');
    expect((await whole(init)).headers).toContain('mcp-session-id');
  },
  async stallEventLoop() {
    plan('stallEventLoop', { delayMs: 40 });
    const startMs = performance.now();
    await whole(call());
    expect(performance.now() - startMs).toBeGreaterThan(38);
  },
  async refused() {
    plan('refused', { delayMs: 60_000 });
    expect(await cut(call())).toEqual({ text: '', ended: 'ECONNRESET' });
    expect(await new RawSocket(port).over()).toBe('ECONNREFUSED');
  },
  async resetBeforeHeaders() {
    plan('resetBeforeHeaders');
    expect([await cut(call()), effects()]).toEqual([{ text: '', ended: 'ECONNRESET' }, 1]);
  },
  async resetAfterHeaders() {
    plan('resetAfterHeaders');
    const { text, ended } = await cut(call());
    expect([text.split('\r\n')[0], text.endsWith('\r\n\r\n'), ended]).toEqual(['HTTP/1.1 200 OK', true, 'ECONNRESET']);
  },
  async status() {
    for (const status of [400, 401, 403, 404, 405, 409, 429, 500, 502, 503, 504]) {
      const rule = plan('status', { status, message: 'no' });
      expect(await whole(call())).toMatchObject({ status, body: 'no' });
      rule.disable();
    }
    const seconds = plan('status', { status: 429, retryAfter: 3 });
    expect((await whole(call())).headers).toContain('retry-after: 3\r\n');
    seconds.disable();
    plan('status', { status: 503, retryAfter: 'date', retryAfterMs: 60_000 });
    const date = /retry-after: (\w{3}, .* GMT)/.exec((await whole(call())).headers)?.[1] ?? '';
    expect(Math.abs(Date.parse(date) - Date.now() - 60_000)).toBeLessThan(30_000);
    expect(effects()).toBe(0);
  },
  async redirect() {
    plan('redirect', { status: 302, location: 'http://elsewhere.invalid/' });
    const { status, headers } = await whole(call());
    expect([status, headers.includes('location: http://elsewhere.invalid/')]).toEqual([302, true]);
  },
  async contentType() {
    const wrong = plan('contentType', { contentType: 'text/plain' });
    expect(await whole(call())).toMatchObject({ headers: expect.stringContaining('text/plain'), body: ANSWER });
    wrong.disable();
    plan('contentType', { contentType: '' });
    expect((await whole(call())).headers).not.toMatch(/content-type/i);
  },
  async compressed() {
    plan('compressed');
    const { headers, bytes } = await whole(call());
    expect(headers).toContain('content-encoding: gzip');
    expect(gunzipSync(bytes).toString()).toBe(ANSWER);
  },
  async brokenChunk() {
    plan('brokenChunk');
    const { text } = await cut(call());
    const [, size = '', part = ''] = /\r\n\r\n([\da-f]+)\r\n(.*)$/s.exec(text) ?? [];
    expect(Number.parseInt(size, 16)).toBeGreaterThan(part.length);
    expect(ANSWER.startsWith(part)).toBe(true);
  },
  async cutStream() {
    for (const at of ['before', 'inside', 'after'] as const) {
      const rule = plan('cutStream', { at });
      const socket = call();
      // Before and inside the stream has an end in good order; after it the connection is cut.
      const raw = at === 'after' ? await socket.over().then(() => socket.text) : '';
      const body = at === 'after' ? utf8(joined(raw.slice(raw.indexOf('\r\n\r\n') + 4))) : (await whole(socket)).body;
      expect(event(ANSWER).startsWith(body.slice(0, 20))).toBe(true);
      expect(body.length > 0).toBe(at !== 'before');
      expect(body.endsWith('\n\n')).toBe(at === 'after');
      rule.disable();
    }
  },
  async noBlankLine() {
    plan('noBlankLine');
    expect((await whole(call())).body).toBe(event(ANSWER).slice(0, -1));
  },
  async slowDrip() {
    plan('slowDrip', { delayMs: 1 });
    const socket = call();
    expect((await whole(socket)).body).toBe(event(ANSWER));
    expect(socket.text.match(/\r\n10\r\n/g)?.length).toBeGreaterThan(4);
  },
  async endlessHeaders() {
    plan('endlessHeaders');
    const socket = call();
    const text = await socket.until((all) => all.length > 80_000);
    expect([text.startsWith('HTTP/1.1 200 OK\r\nx-pad: '), text.includes('\r\n\r\n')]).toEqual([true, false]);
  },
  async retry() {
    plan('retry', { retryAfterMs: 20 });
    const { body } = await whole(call());
    const [, id = ''] = /^id: (\S+)\nretry: 20\ndata: \n\n$/.exec(body) ?? [];
    const rest = new RawSocket(port);
    rest.send(`GET /mcp HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nlast-event-id: ${id}\r\n\r\n`);
    expect((await whole(rest)).body).toBe(event(ANSWER));
  },
  async sessionLost() {
    const init = await whole(post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18' } }));
    const session = /mcp-session-id: \S+/.exec(init.headers)?.[0] ?? '';
    const inside = () =>
      post({ id: 7, method: 'tools/call', params: { name: 'echo', arguments: { text: 'a' } } }, [session]);
    expect((await whole(inside())).status).toBe(200);
    plan('sessionLost', { nth: 1 });
    expect(await whole(inside())).toMatchObject({ status: 404, body: 'no such session' });
    expect((await whole(inside())).status).toBe(404);
  },
  async tokenExpired() {
    plan('tokenExpired', { nth: 1 });
    const mine = (token: string) =>
      post({ id: 7, method: 'tools/call', params: { name: 'echo', arguments: { text: 'a' } } }, [
        `authorization: Bearer ${token}`,
      ]);
    const first = await whole(mine('one'));
    expect([first.status, /www-authenticate: (.*)/.exec(first.headers)?.[1]]).toEqual([
      401,
      'Bearer error="invalid_token"',
    ]);
    expect([(await whole(mine('one'))).status, (await whole(mine('two'))).status]).toEqual([401, 200]);
  },
  async listChangedStorm() {
    plan('listChangedStorm', { count: 20 });
    const { body } = await whole(call());
    expect([body.match(/tools\/list_changed/g)?.length, body.endsWith(event(ANSWER))]).toEqual([20, true]);
  },
  async vanishTool() {
    plan('vanishTool', { of: 'echo' });
    expect((await whole(post({ id: 1, method: 'tools/list' }))).body).not.toContain('"echo"');
    expect((await whole(call())).body).toContain('-32602');
  },
  async changeSchema() {
    plan('changeSchema', { of: 'echo' });
    expect((await whole(post({ id: 1, method: 'tools/list' }))).body).toContain('"required":["added"]');
  },
  async ignoreCancel() {
    plan('ignoreCancel');
    const init = await whole(post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18' } }));
    const session = /mcp-session-id: \S+/.exec(init.headers)?.[0] ?? '';
    const params = { name: 'sleep', arguments: { ms: 40 } };
    const socket = post({ id: 7, method: 'tools/call', params }, [session]);
    await expect.poll(effects).toBe(1);
    const cancel = post({ method: 'notifications/cancelled', params: { requestId: 7 } }, [session]);
    await cancel.until((text) => text.includes('202'));
    expect((await whole(socket)).body).toContain('slept');
  },
  async answerAfterCancel() {
    plan('answerAfterCancel');
    const init = await whole(post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18' } }));
    const session = /mcp-session-id: \S+/.exec(init.headers)?.[0] ?? '';
    const socket = post({ id: 7, method: 'tools/call', params: { name: 'echo', arguments: {} } }, [session]);
    await expect.poll(effects).toBe(1);
    expect(socket.text).toBe('');
    post({ method: 'notifications/cancelled', params: { requestId: 7 } }, [session]);
    await socket.until((text) => text.includes('answered after it was cancelled'));
  },
  async silentPing() {
    plan('silentPing');
    const socket = post({ id: 1, method: 'ping' });
    await answered();
    expect(socket.text).toBe('');
  },
  async silentUnknown() {
    plan('silentUnknown');
    const socket = post({ id: 1, method: 'no/such' });
    await answered();
    expect(socket.text).toBe('');
  },
  async endlessCursor() {
    plan('endlessCursor');
    for (const cursor of [undefined, 'endless-1'])
      expect((await whole(post({ id: 1, method: 'tools/list', params: { cursor } }))).body).toMatch(
        /"nextCursor":"endless-\d/,
      );
  },
  async endlessInputRequired() {
    plan('endlessInputRequired');
    expect((await whole(call())).body).toContain('"resultType":"input_required"');
  },
  async progressAfterAnswer() {
    plan('progressAfterAnswer');
    expect((await whole(call())).body).toMatch(/grüße.*\n\nevent: message\ndata: .*notifications\/progress/s);
  },
  async endlessRequests() {
    plan('endlessRequests');
    const init = await whole(post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18' } }));
    const session = /mcp-session-id: \S+/.exec(init.headers)?.[0] ?? '';
    const socket = post({ id: 7, method: 'tools/call', params: { name: 'echo', arguments: {} } }, [session]);
    for (let turn = 1; turn < 4; turn++) {
      await socket.until((text) => text.split('"roots/list"').length > turn);
      const [id = ''] = /fault-\d+(?!.*fault-)/s.exec(socket.text) ?? [];
      post({ id, result: { roots: [] } }, [session]);
    }
    expect(socket.text).not.toContain('"id":7');
  },
};

test('every fault of Streamable HTTP is looked at', () => {
  expect(Object.keys(SEES).sort()).toEqual(FAULT_NAMES.filter((name) => FAULTS[name].wires.includes('http')).sort());
});

for (const [fault, see] of Object.entries(SEES)) test(`${fault}, byte for byte`, see);

test('a body is read up to a bound', async () => {
  const chunks = async function* () {
    for (;;) yield Buffer.alloc(10);
  };
  await expect(readBody(chunks(), 100)).rejects.toThrow('a body of more than 100 bytes');
});
