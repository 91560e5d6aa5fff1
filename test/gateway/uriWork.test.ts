import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { type Known, KnownLists, MAX_LISTS_BYTES } from '../../src/gateway/aggregate/lists/KnownLists.js';
import { NO_INDEX } from '../../src/gateway/aggregate/uris/ListIndex.js';
import { UriOwners } from '../../src/gateway/aggregate/uris/UriOwners.js';
import { type KnownLists as ListsOfMessage, Uris, type UrisOptions } from '../../src/gateway/aggregate/uris/Uris.js';
import {
  fits,
  LIST,
  parseUriTemplate,
  UriTemplates,
  workOfMessage,
} from '../../src/gateway/aggregate/uris/uriTemplates.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { SessionTables } from '../../src/gateway/endpoint/SessionTables.js';
import { parseAnswer } from '../../src/gateway/rpc/parseAnswer.js';
import { Credentials } from '../../src/pool/server/callers/Credentials.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { countTurns } from '../support/countTurns.js';
import { ownTasks } from '../support/ownTasks.js';
import { RUNS } from '../support/runs.js';

const session = {} as Downstream;

test('the templates of a message get so much work, and no more', () => {
  const template = parseUriTemplate(`{a}${'/{b}'.repeat(49)}`);
  const work = workOfMessage();
  const fitting = `x${'/y'.repeat(49)}`;
  expect(fits(template, fitting, work)).toBe(true);
  let rounds = 0;
  while (fits(template, fitting, work)) rounds++;
  expect(rounds).toBeGreaterThan(100);
  expect(rounds).toBeLessThan(1_000);
  expect(fits(template, fitting, workOfMessage())).toBe(true);
  // One that begins otherwise costs its look, too.
  const other = parseUriTemplate('file:///{path}');
  const looks = workOfMessage();
  for (let at = 0; at < 1_000_000; at++) fits(other, 'http://x', looks);
  expect(looks.left).toBeLessThan(0);
});

test('a search that may take the product of two lengths is worth as much, and is not begun where that is not left', () => {
  const searched = vi.spyOn(String.prototype, 'indexOf');
  const [long, part] = ['a'.repeat(8_000), `${'a'.repeat(10)}b${'a'.repeat(4_000)}`];
  const template = parseUriTemplate(`e://{x}${part}{y}`);
  const work = workOfMessage();
  expect(fits(template, `e://${long}`, work)).toBe(false);
  expect(work.left).toBeLessThan(0);
  expect(searched.mock.calls.filter(([sought]) => sought === part)).toEqual([]);
  searched.mockRestore();
  // Nor may what is longer than any URI.
  expect(fits(parseUriTemplate('e://{x}'), `e://${long.repeat(2)}`, workOfMessage())).toBe(false);
  expect(fits(template, `e://x${part}y`, workOfMessage())).toBe(true);
});

function templatesOf(texts: readonly string[]): UriTemplates {
  const templates = new UriTemplates();
  for (const text of texts) templates.add(text);
  return templates;
}

test('a URI is held against the templates alone that begin as it does', () => {
  const many = templatesOf([...Array.from({ length: 20_000 }, (_, at) => `x:a${at}/{a}`), 'y:{a}', '{any}', '']);
  const work = workOfMessage();
  const before = work.left;
  const literals = (uri: string): number[] => [...many.beginningLike(uri, work)].map(({ literal }) => literal);
  expect(literals('y:1').sort()).toEqual([0, 0, 2]);
  expect(literals('x:a19999/1').sort()).toEqual([0, 0, 9]);
  expect(before - work.left).toBeLessThan(200);
  work.left = 0;
  expect(literals('y:1')).toEqual([]);
});

/** Whether it fits, found out character by character. */
function fitsPlainly(template: string, uri: string): boolean {
  let from = new Set([0]);
  for (const piece of parseUriTemplate(template).pieces) {
    const next = new Set<number>();
    for (const at of from) {
      if (piece.text !== undefined) {
        if (uri.startsWith(piece.text, at)) next.add(at + piece.text.length);
        continue;
      }
      if (piece.optional) next.add(at);
      for (let to = at; to < uri.length && (piece.slashes || uri[to] !== '/'); to++) next.add(to + 1);
    }
    from = next;
  }
  return from.has(uri.length);
}

test('a URI fits a template exactly when each piece can stand for a part of it', () => {
  const piece = fc.constantFrom('a', 'b', '/', 'ab', 'aa', '{x}', '{+x}', '{/x}', '{.x}', '{;x}', '{?x}');
  const letter = fc.constantFrom('a', 'b', '/');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 7 }), fc.array(letter, { maxLength: 9 }), (pieces, letters) => {
      const [template, uri] = [pieces.join(''), letters.join('')];
      const wanted = fitsPlainly(template, uri);
      expect(fits(parseUriTemplate(template), uri, workOfMessage())).toBe(wanted);
      if (wanted) expect([...templatesOf([template]).beginningLike(uri, workOfMessage())]).toHaveLength(1);
    }),
    { numRuns: 4 * RUNS },
  );
});

/** URIs of a server that lists those templates, beside another server. */
function urisOf(templates: readonly string[]): Uris {
  // What is searched was made as the list came: its items are not looked at any more, in one turn.
  const index = { uris: new Set(templates), templates: templatesOf(templates), apps: new Set() };
  const listed = [{ server: 's', items: { length: templates.length }, index }];
  const catalog = { listsSoon: async () => listed, known: () => listed, renew: async () => undefined };
  const none = { listsSoon: async () => [], known: () => [], renew: async () => undefined };
  return new Uris({
    pool: { servers: () => ['s', 'other'], hasServer: () => true, info: () => undefined },
    callers: { isBound: () => false, of: () => undefined },
    resources: none,
    templates: catalog,
  } as unknown as UrisOptions);
}

test('one long URI is held against very many templates in turns of the event loop', async () => {
  const uris = urisOf(Array.from({ length: 19_900 }, (_, at) => `x://a/{id}/b/{c}{d}${at}/k{+z}`));
  // A fast machine needs one turn for it: here 1 ms goes by between two looks at the clock.
  let nowMs = performance.now();
  using _ = vi.spyOn(performance, 'now').mockImplementation(() => nowMs++);
  using turns = countTurns();
  expect(await uris.find(`x://a/${'a/b/'.repeat(1_920)}`, session)).toBeUndefined();
  expect(turns.count).toBeGreaterThan(1);
});

test('the URIs of one message are looked for in turns of the event loop, each to its end, and in so many turns', async () => {
  const items = Array.from({ length: 40 }, (_, at) => `x://a/{id}/b/{c}{d}/k${at}{+z}`);
  const uris = urisOf([...items, '{+any}']);
  using turns = countTurns();
  const few = Array.from({ length: 20 }, (_, at) => `x://${at}`);
  expect(await uris.findAll(few, session)).toEqual(few.map((uri) => ({ server: 's', uri })));
  expect(turns.count).toBeLessThan(5);
  turns.count = 0;
  const many = Array.from({ length: 2_000 }, (_, at) => `x://a/${'a/b/'.repeat(960)}${at}`);
  const found = await uris.findAll(many, session);
  // How many is the machine's: the work is bounded, and one turn of it in time.
  expect(turns.count).toBeGreaterThan(1);
  expect(found.length).toBeGreaterThan(5);
  expect(found.length).toBeLessThan(1_500);
  expect(found).toEqual(many.slice(0, found.length).map((uri) => ({ server: 's', uri })));
});

test('templates are parsed one by one as URIs are held against them, which counts; those of very many expressions fit nothing', () => {
  const split = vi.spyOn(String.prototype, 'split');
  const many = templatesOf(Array.from({ length: 20_000 }, (_, at) => `x:0.1${'{a}'.repeat(115)}${at}`));
  expect(split).not.toHaveBeenCalled();
  const work = workOfMessage();
  for (const each of many.beginningLike('x:0.1', work)) expect(fits(each, 'x:0.1y', work)).toBe(false);
  expect(split.mock.calls.length).toBeLessThan(2_000);
  split.mockRestore();
  const fitting = (count: number): boolean =>
    fits(parseUriTemplate('{a}'.repeat(count)), 'x'.repeat(500), workOfMessage());
  expect([fitting(101), fitting(102), fitting(300)]).toEqual([true, false, false]);
});

test('each list of templates that is looked at counts, and those that are empty are left out', () => {
  const many = Array.from({ length: 200 }, (_, at) => ({
    server: `s${at}`,
    items: { length: 1 },
    index: { templates: templatesOf(['{a}!']) },
  }));
  const uris = urisOf([]);
  const work = workOfMessage();
  const before = work.left;
  uris.outward('other', 'y:1', session, work, { resources: [], templates: many } as unknown as ListsOfMessage);
  expect(before - work.left).toBeGreaterThanOrEqual(200 * LIST);
  expect(uris.known(session).templates).toEqual([]);
});

test('what is remembered of URIs is bounded in characters, and long ones are not remembered', () => {
  const owners = new UriOwners();
  const uri = (at: number): string => `${at}:${'x'.repeat(8_000)}`;
  owners.set(`x:${'x'.repeat(8_192)}`, 's', session, true);
  expect(owners.get(`x:${'x'.repeat(8_192)}`, session)).toBeUndefined();
  for (let at = 0; at < 300; at++) owners.set(uri(at), 's', session, false);
  expect(owners.get(uri(299), session)).toBe('s');
  expect(owners.get(uri(0), session)).toBeUndefined();
  const known = Array.from({ length: 300 }, (_, at) => owners.get(uri(at), session)).filter(Boolean);
  expect(known.length).toBeLessThan(264);
  expect(known.length).toBeGreaterThan(200);
});

test('what sessions know of URIs is bounded in all of them together: those that know most lose it', () => {
  const owners = new UriOwners();
  const sessions = Array.from({ length: 20 }, () => ({}) as Downstream);
  const [modest = session] = sessions;
  owners.set('x:modest', 's', modest, false);
  for (const each of sessions.slice(1)) {
    for (let at = 0; at < 300; at++) owners.set(`${at}:${'x'.repeat(8_000)}`, 'evil', each, false);
  }
  expect(owners.get('x:modest', modest)).toBe('s');
  const known = sessions.slice(1).map((each) => {
    const own = Array.from({ length: 300 }, (_, at) => owners.get(`${at}:${'x'.repeat(8_000)}`, each) === 'evil');
    return own.filter(Boolean).length;
  });
  // Each may know 2 Mi characters, some 260 of them, and all 32 Mi.
  const sum = known.reduce((all, each) => all + each, 0);
  expect(sum).toBeGreaterThan(2_500);
  expect(sum).toBeLessThan((32 * 1_024 * 1_024) / 8_000);
  expect(Math.min(...known)).toBeGreaterThan(50);
});

test('what is known of URIs is bounded for all users together: those that know most lose it', () => {
  const uris = Array.from({ length: 1_000 }, (_, at) => `${at}:${'x'.repeat(8_000)}`);
  const modest = new UriOwners();
  modest.set('x:modest', 's', session, true);
  const users = Array.from({ length: 12 }, () => new UriOwners());
  for (const each of users) for (const uri of uris) each.set(uri, 'evil', session, true);
  expect(modest.get('x:modest', session)).toBe('s');
  const known = users.map((each) => uris.filter((uri) => each.get(uri, session) === 'evil'));
  // Each alone may know 8 Mi characters, 1,000 of them, and all 64 Mi.
  expect(known.flat().length).toBeLessThan((64 * 1_024 * 1_024) / 8_000);
  expect(Math.min(...known.map(({ length }) => length))).toBeGreaterThan(200);
});

test('room is made for many at a time: the oldest of a set is not looked for again and again', () => {
  const owners = new UriOwners();
  const iterate = vi.spyOn(Set.prototype, Symbol.iterator);
  const values = vi.spyOn(Set.prototype, 'values');
  for (let at = 0; at < 60_000; at++) owners.set(`link:${at}`, 's', session, false);
  const walks = iterate.mock.calls.length + values.mock.calls.length;
  iterate.mockRestore();
  values.mockRestore();
  expect(walks).toBeLessThan(100);
  expect(owners.get('link:59999', session)).toBe('s');
});

test('many short URIs of one server drive out no long ones of another', () => {
  const owners = new UriOwners();
  for (let at = 0; at < 60; at++) owners.set(`long${at}:${'x'.repeat(8_000)}`, 'b', session, true);
  for (let at = 0; at < 100_100; at++) owners.set(at.toString(36), 'a', session, true);
  expect(Array.from({ length: 60 }, (_, at) => owners.get(`long${at}:${'x'.repeat(8_000)}`, session))).toEqual(
    Array(60).fill('b'),
  );
});

test('an answer that would take long to read is refused', () => {
  expect(parseAnswer('{"a":[1]}')).toEqual({ a: [1] });
  expect(() => parseAnswer(`[${'{},'.repeat(1_500_000)}1]`)).toThrow('too many values');
});

test('a server that lists without end loses its own URIs, and drives out none of another', () => {
  const owners = new UriOwners();
  owners.set('file:///of-b', 'b', session, true);
  for (let at = 0; at < 100_100; at++) owners.set(`a:${at}`, 'a', session, true);
  expect(owners.get('file:///of-b', session)).toBe('b');
  expect(owners.get('a:0', session)).toBeUndefined();
  expect(owners.get('a:100099', session)).toBe('a');
});

test('what a credentials hook throws is an error, whatever it is', async () => {
  const odd: unknown = new Proxy(
    {},
    {
      getPrototypeOf: () => {
        throw 1;
      },
    },
  );
  const hook = (): never => {
    throw odd;
  };
  const credentials = new Credentials({ name: 's', url: 'http://127.0.0.1' }, hook, new FakeClock());
  await expect(credentials.get(undefined, new AbortController().signal)).rejects.toThrow('cannot be looked at');
});

const listOf = (share: number): Known<unknown> => ({
  items: [],
  index: NO_INDEX,
  hints: {},
  untilMs: undefined,
  bytes: Math.floor(share * MAX_LISTS_BYTES),
  id: {},
  outdated: false,
});

test('lists are kept as long as there is room for them, over all sessions and users: the one used least lately goes first', () => {
  const all = [new KnownLists(), new KnownLists(session), new KnownLists()] as const;
  const keep = (lists: KnownLists<unknown>, share = 0.4): Known<unknown> => {
    const known = listOf(share);
    lists.keep('s', known);
    return known;
  };
  const left = (): boolean[] => all.map(({ known }) => known.has('s'));
  const [first, second, third] = all;
  const known = keep(first);
  keep(second);
  expect(left()).toEqual([true, true, false]);
  first.use('s', known);
  keep(third);
  expect(left()).toEqual([true, false, true]);
  // What was replaced or forgotten takes no room any more.
  for (let at = 0; at < 10; at++) keep(first);
  expect(left()).toEqual([true, false, true]);
  for (let at = 0; at < 10; at++) {
    keep(second, 0.05);
    second.forget('s');
  }
  expect(left()).toEqual([true, false, true]);
  for (const lists of all) lists.forget('s');
});

test('lists of one server drive out none of another, however large and however often they change', () => {
  const [good, evil] = [new KnownLists(), new KnownLists()];
  const own = listOf(0.02);
  good.keep('good', own);
  const kinds = Array.from({ length: 8 }, () => new KnownLists());
  for (let at = 0; at < 200; at++) {
    kinds[at % 8]?.keep('evil', listOf(0.6));
    if (at % 3 === 0) evil.keep('evil', listOf(2));
  }
  expect(good.known.get('good')).toBe(own);
  expect(evil.known.has('evil')).toBe(false);
  for (const lists of [good, evil]) lists.forget('good');
  for (const lists of kinds) lists.forget('evil');
});

test('what one server makes of tasks drives out no task of another, and all sessions together keep a bounded number', () => {
  const tasks = ownTasks();
  const sessions = Array.from({ length: 30 }, (_, at) => ({ key: `${at}` }));
  const [modest = session] = sessions;
  const make = (server: string, owner: { key: string }, taskId: string): void =>
    tasks.made(server, owner, { task: { taskId } });
  make('good', modest, 'own');
  const idOf = (each: { key: string }, at: number): string => `${each.key} ${at}`;
  for (const each of sessions) for (let at = 0; at < 7_000; at++) make('evil', each, idOf(each, at));
  expect(tasks.has('good', modest, 'own')).toBe(true);
  expect([tasks.has('evil', modest, idOf(modest, 0)), tasks.has('evil', modest, 0)]).toEqual([false, false]);
  const kept = sessions.flatMap((each) =>
    Array.from({ length: 7_000 }, (_, at) => tasks.has('evil', each, idOf(each, at))).filter(Boolean),
  );
  expect(kept.length).toBeGreaterThan(100_000);
  expect(kept.length).toBeLessThanOrEqual(200_000);
});

test('of what sessions have too much of no more goes at one go than is needed', () => {
  const tables = new SessionTables({ maxWeight: 1_000, maxAllWeight: 1_000 });
  const [rich, poor] = [{}, {}];
  for (let at = 0; at < 900; at++) tables.set(rich, `x:${at}`, 'a', 1);
  for (let at = 0; at < 101; at++) tables.set(poor, `y:${at}`, 'a', 1);
  const left = Array.from({ length: 900 }, (_, at) => tables.serverOf(rich, `x:${at}`)).filter((each) => each === 'a');
  expect(left.length).toBeGreaterThan(850);
  expect(left.length).toBeLessThan(900);
});
