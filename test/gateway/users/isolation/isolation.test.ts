import { expect, test, vi } from 'vitest';
import type { McpPool, PoolEvents } from '../../../../src/pool/McpPool.js';
import { closeAfter } from '../../../support/closeAfter.js';
import { type House, Street } from './Street.js';

/**
 * Eight users and two clients without a name, on servers of every transport and sharing, by every front. Each server says all it
 * can about each call, with the call's stamp; clients write down all they hear, and the checker says whether anything reached
 * another than the one it belongs to. `npm run isolation` makes 50,000 calls of it.
 */
const CALLS = Number(process.env['POOLKIT_ISOLATION_CALLS'] ?? 150);
/** The short form has fewer processes. */
const LONG = CALLS > 1_000;
// Processes start here, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 + CALLS * 50 });

const SHARINGS = ['shared', 'leased', 'bound'] as const;
const REMOTE: readonly House[] = (['http', 'sse'] as const).flatMap((transport) =>
  SHARINGS.map((sharing) => ({ transport, sharing })),
);
const MODERN: readonly House[] = SHARINGS.map((sharing) => ({ transport: 'http', sharing, era: 'modern' }));
const STDIO: readonly House[] = SHARINGS.map((sharing) => ({ transport: 'stdio', sharing }));

/** Each has its share of the calls: one whose list comes late is heard, too. */
async function calls(street: Street, count: number): Promise<void> {
  const { neighbours } = street;
  await Promise.all(
    neighbours.map(async (each, index) => {
      await each.list();
      for (let n = index; n < count; n += neighbours.length) await each.say(n);
    }),
  );
}

/** What Node warned of, such as a leak of listeners. */
function warnings(): readonly string[] {
  const told: string[] = [];
  const listener = ({ message }: Error): void => void told.push(message);
  process.on('warning', listener);
  closeAfter({ close: async () => void process.off('warning', listener) });
  return told;
}

const strangers = (street: Street): string[] => street.neighbours.flatMap((each) => each.strangers);

test(`nothing of one principal is heard by another: ${CALLS} calls`, async () => {
  const warned = warnings();
  const street = await Street.open({
    houses: [...STDIO.slice(0, LONG ? 3 : 1), ...REMOTE, ...MODERN.slice(0, LONG ? 3 : 1)],
    users: ['u1', 'u2', 'u3', 'u4', 'u5', 'u6', 'u7', 'u8'].slice(0, LONG ? 8 : 2),
    nameless: LONG ? 2 : 1,
  });
  await calls(street, CALLS);
  const verdict = await street.judge();
  if (LONG) console.log(String(verdict));
  verdict.assert();
  expect(strangers(street)).toEqual([]);
  expect(warned).toEqual([]);
  // Each call was made, and its server told of it.
  expect(verdict.counts.calls).toBeGreaterThanOrEqual(CALLS);
  expect(verdict.counts.effects).toBeGreaterThanOrEqual(CALLS);
});

// u1 listens on a stream of its own at all times; the modern u2 would hear within its calls only.
test('a relay that takes one principal for another is convicted', async () => {
  const between = (pool: McpPool): McpPool =>
    new Proxy(pool, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (name !== 'on') return typeof value === 'function' ? value.bind(target) : value;
        return (event: 'notification', listener: (told: PoolEvents['notification']) => void) =>
          target.on(event, (told) => listener(event === 'notification' ? { ...told, principal: 'u1' } : told));
      },
    });
  const street = await Street.open({
    houses: [{ transport: 'sse', sharing: 'shared' }],
    users: ['u1', 'u2'],
    nameless: 0,
    between,
  });
  await calls(street, 20);
  const { violations } = await street.judge();
  expect(new Set(violations.map(({ rule }) => rule))).toEqual(new Set(['wrong-receiver']));
});
