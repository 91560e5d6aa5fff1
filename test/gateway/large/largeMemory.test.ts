import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RawClient } from '../../support/httpClient.js';
import { ask } from '../../support/largeCalls.js';
import { Program } from '../../support/program.js';

/** What a gateway holds of an answer of 50 MB, measured in its own process while the answer passes. */

const MIB = 1_024 * 1_024;
/** Of 64 KiB each. */
const PARTS = 800;
const MAX_BYTES = 16 * MIB;
/** The gateway's `maxStreamBufferBytes`. */
const WINDOW_BYTES = MIB;
/** It is measured each time that so many bytes have come. */
const STEP_BYTES = 10 * MIB;

interface Memory {
  /** Bytes outside of the JavaScript heap, garbage not among them. */
  readonly held: number;
  readonly rss: number;
  /** What waits for clients. */
  readonly waiting: number;
}

test('of an answer of 50 MB a gateway holds a window, whether its client reads fast or not at all', {
  timeout: 60_000,
}, async () => {
  const program = new Program(join(import.meta.dirname, '../../fixtures/large-gateway.mjs'));
  const [line] = await program.line(/^\{.*\}$/);
  const { port, meter } = JSON.parse(line) as { port: number; meter: number };
  const memory = async (): Promise<Memory> => (await fetch(`http://127.0.0.1:${meter}`)).json() as Promise<Memory>;
  /** Reads all of it, and tells what the gateway held meanwhile. */
  const read = async (response: IncomingMessage): Promise<readonly Memory[]> => {
    const seen: Promise<Memory>[] = [];
    let bytes = 0;
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      if (bytes > STEP_BYTES * (seen.length + 1)) seen.push(memory());
    }
    return Promise.all(seen);
  };
  const one = new RawClient(`http://127.0.0.1:${port}/servers/one/mcp`);
  await one.initialize();
  // What is compiled and allocated once is there after the first.
  await read(await ask(one, 'large', { parts: PARTS / 4 }));
  const idle = await memory();
  const within = ({ held, rss }: Memory): boolean => Math.max(held - idle.held, rss - idle.rss) < MAX_BYTES;

  const fast = await read(await ask(one, 'large', { parts: PARTS }));
  expect(fast.length).toBeGreaterThan(3);
  expect(fast.filter((each) => !within(each))).toEqual([]);

  const response = await ask(one, 'large', { parts: PARTS });
  const slow: Memory[] = [];
  // The gateway reads on until its window is full, and no further.
  await expect
    .poll(
      async () => {
        const { waiting: before = 0 } = slow.at(-1) ?? {};
        const { waiting } = slow[slow.push(await memory()) - 1] as Memory;
        return waiting > WINDOW_BYTES / 2 && waiting === before;
      },
      { timeout: 30_000 },
    )
    .toBe(true);
  expect(slow.at(-1)?.waiting).toBeLessThan(2 * WINDOW_BYTES);
  expect([...slow, ...(await read(response))].filter((each) => !within(each))).toEqual([]);
});
