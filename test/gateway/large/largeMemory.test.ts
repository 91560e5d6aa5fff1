import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RawClient } from '../../support/httpClient.js';
import { ask, read } from '../../support/largeCalls.js';
import { Program } from '../../support/program.js';

/** What a gateway holds of an answer of 50 MB, measured in its own process. */

const MIB = 1_024 * 1_024;
/** Of 64 KiB each. */
const PARTS = 800;
const MAX_BYTES = 16 * MIB;
/** The gateway's `maxStreamBufferBytes`. */
const WINDOW_BYTES = MIB;

interface Peak {
  /** The most bytes outside of the JavaScript heap, garbage not among them, since it was asked last. */
  readonly held: number;
  readonly rss: number;
  /** What waits for clients now. */
  readonly waiting: number;
}

test('of an answer of 50 MB a gateway holds a window, whether its client reads fast or not at all', {
  timeout: 60_000,
}, async () => {
  const program = new Program(join(import.meta.dirname, '../../fixtures/large-gateway.mjs'));
  const [line] = await program.line(/^\{.*\}$/);
  const { port, meter } = JSON.parse(line) as { port: number; meter: number };
  const peak = async (): Promise<Peak> => (await fetch(`http://127.0.0.1:${meter}`)).json() as Promise<Peak>;
  const one = new RawClient(`http://127.0.0.1:${port}/servers/one/mcp`);
  await one.initialize();
  // What is compiled and allocated once is there after the first.
  expect(await read(await ask(one, 'large', { parts: PARTS / 8 }))).toMatchObject({ complete: true });
  await peak();
  const idle = await peak();

  expect(await read(await ask(one, 'large', { parts: PARTS }))).toMatchObject({ complete: true });
  const fast = await peak();
  expect(fast.held - idle.held).toBeLessThan(MAX_BYTES);
  expect(fast.rss - idle.rss).toBeLessThan(MAX_BYTES);

  const response = await ask(one, 'large', { parts: PARTS });
  const seen: number[] = [];
  // The gateway reads on until its window is full, and no further.
  await expect
    .poll(
      async () => {
        const { held, rss, waiting } = await peak();
        expect(Math.max(held - idle.held, rss - idle.rss)).toBeLessThan(MAX_BYTES);
        return seen.push(waiting) > 1 && waiting > WINDOW_BYTES / 2 && seen.at(-1) === seen.at(-2);
      },
      { timeout: 30_000 },
    )
    .toBe(true);
  expect(await read(response)).toMatchObject({ complete: true });
  const slow = await peak();
  expect(slow.held - idle.held).toBeLessThan(MAX_BYTES);
  expect(slow.rss - idle.rss).toBeLessThan(MAX_BYTES);
});
