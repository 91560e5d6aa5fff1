import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { expect, test } from 'vitest';
import { ForeignGatewayError, OwnAgent } from '../../src/cli/desk/OwnAgent.js';
import { HttpLink, LinkError } from '../../src/gateway/stdio/HttpLink.js';
import { configFile, MAIN } from '../support/cli.js';
import { closeAfter } from '../support/closeAfter.js';

test.each(['127.0.0.1', '0.0.0.0', '::1', '::'])(
  'what this user’s own processes listen on (%s) is reached',
  async (host) => {
    const server = createServer((_, response) => response.end('own')).listen(0, host);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    closeAfter({ close: async () => void server.close().closeAllConnections() });
    const name = host === '::1' ? '[::1]' : '127.0.0.1';
    using link = new HttpLink({ url: new URL(`http://${name}:${port}/mcp`), agent: new OwnAgent({ keepAlive: true }) });
    for (let i = 0; i < 2; i++) {
      const response = await link.request({ method: 'GET' });
      expect(response.statusCode).toBe(200);
      response.resume();
      await once(response, 'end');
    }
  },
);

test('a gateway that ends its connections and its listener as one comes keeps no one waiting', async () => {
  const server = createNetServer((socket) => void (socket.destroy() && server.close())).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  using link = new HttpLink({ url: new URL(`http://127.0.0.1:${port}/mcp`), agent: new OwnAgent({ keepAlive: true }) });
  await expect(link.request({ method: 'POST', body: '{}' })).rejects.toBeInstanceOf(LinkError);
});

const ANSWERS =
  's.on("data",(data)=>{console.log("got",String(data));s.end("HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}")})';

/** What another user listens on, and what becomes of the listener and the connection as soon as one comes. */
const STRANGERS: readonly [name: string, host: string, then: string][] = [
  ['another user who listens on its port', '127.0.0.1', ANSWERS],
  ['one who listens on the same address as IPv6 has it', '::ffff:127.0.0.1', ANSWERS],
  ['one who listens on every address as IPv6 has them', '::ffff:0.0.0.0', ANSWERS],
  ['one who ends the own side and the listener at once', '127.0.0.1', `${ANSWERS};s.write("");s.end();l.close()`],
  ['one who closes the listener at once', '::ffff:127.0.0.1', `${ANSWERS};l.close()`],
];

// Only root can start a process of another user.
test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0).each(STRANGERS)(
  'of what is for the own gateway nothing is sent to %s (%s)',
  async (_, host, then) => {
    const code = `const l=require('net').createServer({allowHalfOpen:true},(s)=>{s.on('error',()=>{});${then}}).listen(0,'${host}',()=>console.log(l.address().port))`;
    const other = spawn(process.execPath, ['-e', code], {
      uid: 65_534,
      gid: 65_534,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    closeAfter({ close: async () => void (other.kill('SIGKILL') && (await once(other, 'exit'))) });
    let said = '';
    other.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
    await expect.poll(() => said).toMatch(/\d+\n/);
    const url = `http://127.0.0.1:${Number.parseInt(said, 10)}/mcp`;
    using link = new HttpLink({ url: new URL(url), agent: new OwnAgent({ keepAlive: true }) });
    const asked = link.request({ method: 'POST', body: '{}' }).catch((thrown: unknown) => thrown as LinkError);
    // The other has its turn before it is looked at.
    setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100));
    const error = await asked;
    expect(error).toBeInstanceOf(LinkError);
    expect(error).toMatchObject({ neverSent: true });
    // What has ended by then need not be looked at.
    if (!then.includes('s.end()')) expect(error).toMatchObject({ cause: expect.any(ForeignGatewayError) });
    expect(said).not.toContain('got');
    // A program for one of them: what it asks is asked by the same agent.
    if (then !== ANSWERS || host !== '127.0.0.1') return;
    const call = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
    const cli = spawn(process.execPath, [MAIN, 'connect', url, '--start', '--config', configFile({})]);
    let answered = '';
    cli.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      answered += chunk;
    });
    cli.stdin.write(`${call}\n`);
    await expect.poll(() => answered, { timeout: 10_000 }).toContain('belongs to another user (uid 65534)');
    cli.stdin.end();
    await once(cli, 'exit');
    expect(said).not.toContain('got');
  },
);

test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)(
  'another user who listens on the same port of IPv6 keeps none from the own gateway',
  async () => {
    const server = createServer((_, response) => response.end('own')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    closeAfter({ close: async () => void server.close().closeAllConnections() });
    const code = `require('net').createServer().listen({port:${port},host:'::',ipv6Only:true},()=>console.log('up'))`;
    const other = spawn(process.execPath, ['-e', code], {
      uid: 65_534,
      gid: 65_534,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    closeAfter({ close: async () => void (other.kill('SIGKILL') && (await once(other, 'exit'))) });
    await once(other.stdout, 'data');
    using link = new HttpLink({ url: new URL(`http://127.0.0.1:${port}/mcp`), agent: new OwnAgent() });
    const response = await link.request({ method: 'GET' });
    response.resume();
    expect(response.statusCode).toBe(200);
  },
);
