import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { rawPool, tool } from '../../support/httpPool.js';
import { said } from '../../support/rawServer.js';

const MIB = 2 ** 20;

const outcome = (call: Promise<string>): Promise<string | Error> => call.catch((error: Error) => error);

/** Answers of 900 KiB that stop before their end, until they are let go on. */
test.each(['json', 'events'] as const)(
  'answers on their way are bounded together, over all connections of a pool (%s)',
  async (kind) => {
    const stopped: (() => void)[] = [];
    const type = kind === 'json' ? 'application/json' : 'text/event-stream';
    const large = async ({ res, message }: { res: ServerResponse; message: { id?: unknown } }): Promise<void> => {
      const text = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: said('x'.repeat(900 * 1024)) });
      const body = kind === 'json' ? text : `data: ${text}\n\n`;
      res.writeHead(200, { 'content-type': type });
      if (!res.write(body.slice(0, -10))) await once(res, 'drain');
      stopped.push(() => res.end(body.slice(-10)));
    };
    const { pool } = await rawPool({ tools: { large: large as never } }, { maxIncomingBytes: 2 * MIB });
    // Whichever comes last has no room, and gives up what it holds.
    const calls = [1, 2, 3].map(() => outcome(tool(pool, 'large')));
    expect(await Promise.race(calls)).toMatchObject({
      code: 'ERR_PROTOCOL',
      message: expect.stringContaining('maxIncomingBytes'),
    });
    expect(await tool(pool, 'echo', { text: 'small' })).toBe('small');
    let settled = 0;
    for (const each of calls) void each.then(() => settled++);
    await expect
      .poll(() => {
        for (const goOn of stopped.splice(0)) goOn();
        return settled;
      })
      .toBe(3);
    const lengths = (await Promise.all(calls)).filter((each) => typeof each === 'string').map(({ length }) => length);
    expect(lengths).toEqual([900 * 1024, 900 * 1024]);
    // What has come, failed or was given up is counted no more.
    for (let i = 0; i < 5; i++) {
      const call = tool(pool, 'large');
      await expect.poll(() => stopped.length).toBe(1);
      stopped.pop()?.();
      expect(await call).toHaveLength(900 * 1024);
    }
  },
);
