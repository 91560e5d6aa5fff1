import { expect, test } from 'vitest';
import type { TypedRequestOptions } from '../../../src/pool/McpPool.js';
import { stdioPool } from '../../support/stdioPool.js';

/** `late` asks its caller and tells after 100 ms, heeds no cancellation and answers never; `pid` answers after 300 ms. */
const SERVER = `
  const say = (message) => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }));
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, params } = JSON.parse(line);
    const { protocolVersion } = params ?? {};
    if (method === 'initialize')
      say({ id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } } });
    if (params?.name === 'late')
      setTimeout(() => {
        say({ id: 'q', method: 'elicitation/create', params: { message: 'of late' } });
        say({ method: 'notifications/message', params: { level: 'info', data: 'of late' } });
      }, 100);
    if (params?.name === 'pid')
      setTimeout(() => say({ id, result: { content: [{ type: 'text', text: String(process.pid) }] } }), 300);
  });
`;

const pidOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? '';

test.each(['a call', 'a lease'])(
  'leased: what %s that was given up asks and tells late reaches no next caller',
  async (kind) => {
    const pool = stdioPool();
    pool.addServer({
      name: 's',
      transport: 'stdio',
      command: process.execPath,
      args: ['-e', SERVER],
      era: 'legacy',
      sharing: 'leased',
      maxConnections: 1,
      clientCapabilities: { elicitation: {} },
    });
    const ask = async (name: string, options: TypedRequestOptions): Promise<unknown> => {
      if (kind === 'a call') return pool.callTool('s', name, {}, options);
      await using lease = await pool.lease('s');
      return lease.request('tools/call', { name, arguments: {} }, options);
    };
    const first = pidOf(await ask('pid', {}));
    // One that is answered after all costs no connection.
    await expect(ask('pid', { timeoutMs: 20 })).rejects.toMatchObject({ code: 'ERR_REQUEST_TIMEOUT' });
    expect(pidOf(await ask('pid', {}))).toBe(first);
    await expect(ask('late', { timeoutMs: 20 })).rejects.toMatchObject({ code: 'ERR_REQUEST_TIMEOUT' });
    const heard: unknown[] = [];
    const second = await ask('pid', {
      onRequest: async (request) => {
        heard.push(request);
        return { action: 'decline' };
      },
      onNotification: (notice) => void heard.push(notice),
    });
    expect(heard).toEqual([]);
    expect(pidOf(second)).not.toBe(first);
  },
);
