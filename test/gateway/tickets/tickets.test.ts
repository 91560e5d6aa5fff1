import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { EndedTickets, MAX_ENDED_TICKETS } from '../../../src/gateway/tickets/EndedTickets.js';
import { SessionTickets } from '../../../src/gateway/tickets/SessionTickets.js';
import { TicketSeal } from '../../../src/gateway/tickets/TicketSeal.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

const [OLD, NEW] = [randomBytes(32), randomBytes(48).toString('base64url')];
const LIFE_MS = 60_000;
const CLIENT = {
  key: 'k',
  protocolVersion: '2025-06-18',
  capabilities: { sampling: {}, experimental: { x: {} } },
  clientInfo: { name: 'n', version: '1', title: 'left out' },
};

const tickets = (clock: FakeClock, ...sessionKeys: (string | Uint8Array)[]): SessionTickets =>
  new SessionTickets({ sessionKeys, sessionLifeMs: LIFE_MS, clock });

test('a text opens with any of the keys, for its own purpose, and in one form alone', () => {
  const before = new TicketSeal([OLD]);
  const during = new TicketSeal([NEW, OLD]);
  const after = new TicketSeal([NEW]);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.nat(), (text, purpose, at) => {
      const [first, second] = [before.seal(text, purpose), during.seal(text, purpose)];
      expect(during.open(first, purpose)).toBe(Buffer.from(text).toString());
      expect(after.open(second, purpose)).toBe(Buffer.from(text).toString());
      expect([after.open(first, purpose), before.open(second, purpose)]).toEqual([undefined, undefined]);
      expect(during.open(first, `${purpose} `)).toBeUndefined();
      const other = first.charCodeAt(at % first.length) === 65 ? 'B' : 'A';
      const changed = first.slice(0, at % first.length) + other + first.slice((at % first.length) + 1);
      expect(during.open(changed, purpose)).toBeUndefined();
      for (const form of [`${first}=`, `${first} `, first.slice(0, -1), `${first}A`, first.replace(/[-_]/g, '+')]) {
        if (form !== first) expect(during.open(form, purpose)).toBeUndefined();
      }
    }),
    { numRuns: 25 },
  );
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => during.open(text, '') === undefined));
});

test('secrets that are short, alike, none or too many are refused, and never shown', () => {
  const bad: [unknown[], string][] = [
    [[], 'sessionKeys'],
    [['short-secret'], 'sessionKeys[0]'],
    [[NEW, 17], 'sessionKeys[1]'],
    [[new Uint8Array(32)], 'sessionKeys[0]'],
    [[NEW, NEW], 'sessionKeys'],
    [Array.from({ length: 17 }, () => randomBytes(32)), 'sessionKeys'],
  ];
  for (const [keys, option] of bad) {
    const making = () => new TicketSeal(keys as string[]);
    expect(making).toThrow(OptionError);
    expect(making).toThrow(expect.objectContaining({ option }));
    expect(making).not.toThrow(/short-secret/);
    expect(making).not.toThrow(new RegExp(NEW));
  }
});

test('a ticket says what shared servers need of its client, until its time is over', async () => {
  const clock = new FakeClock();
  const here = tickets(clock, NEW);
  const ticket = here.seal(CLIENT, 'scope', true);
  expect(ticket).toMatch(/^[A-Za-z0-9_-]{100,400}$/);
  expect(tickets(clock, OLD, NEW).open(ticket, 'scope')).toEqual({
    key: 'k',
    protocolVersion: '2025-06-18',
    capabilities: { sampling: {} },
    clientInfo: { name: 'n', version: '1' },
  });
  expect(here.open(ticket, 'another scope')).toBeUndefined();
  await clock.advance(LIFE_MS - 1);
  expect(here.open(ticket, 'scope')).toBeDefined();
  await clock.advance(1_001);
  expect(here.open(ticket, 'scope')).toBeUndefined();
});

test('what one process alone can serve, and what is too large to carry, is no ticket; without keys none is', () => {
  const clock = new FakeClock();
  const here = tickets(clock, NEW);
  const large = { ...CLIENT, capabilities: { sampling: { context: { x: 'x'.repeat(2_000) } } } };
  const stays = [here.seal(CLIENT, 's', false), here.seal(large, 's', true)];
  for (const ticket of stays) {
    expect(ticket.length).toBeLessThan(200);
    expect(here.open(ticket, 's')).toBeUndefined();
  }
  const alone = new SessionTickets({ sessionKeys: undefined, sessionLifeMs: LIFE_MS, clock });
  expect(alone.open(alone.seal(CLIENT, 's', true), 's')).toBeUndefined();
  expect(here.open('A'.repeat(100_000), 's')).toBeUndefined();
});

test('ended sessions are remembered as long as their tickets, within a bound', async () => {
  const clock = new FakeClock();
  const here = tickets(clock, NEW);
  const ticket = here.seal(CLIENT, 's', true);
  here.end('k');
  expect(here.open(ticket, 's')).toBeUndefined();
  const ended = new EndedTickets(clock);
  for (let i = 0; i <= MAX_ENDED_TICKETS; i++) ended.add(`${i}`, LIFE_MS);
  expect([ended.size, ended.has('0'), ended.has('1')]).toEqual([MAX_ENDED_TICKETS, false, true]);
  await clock.advance(LIFE_MS);
  ended.add('last', LIFE_MS);
  expect(ended.size).toBe(1);
});
