import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
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

// Only root can start a process of another user.
test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)(
  'another user who listens on the port of the own gateway is sent nothing',
  async () => {
    const code = `const s=require('http').createServer((q,r)=>{console.log('got',q.url);r.end('{}')}).listen(0,'127.0.0.1',()=>console.log(s.address().port))`;
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
    const error = await link.request({ method: 'POST', body: '{}' }).catch((thrown: unknown) => thrown as LinkError);
    expect(error).toBeInstanceOf(LinkError);
    expect(error).toMatchObject({ neverSent: true, cause: expect.any(ForeignGatewayError) });
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
