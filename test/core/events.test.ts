import { beforeEach, expect, test } from 'vitest';
import { Emitter } from '../../src/core/events.js';

interface Events {
  readonly a: number;
  readonly b: string;
}

let failed: [unknown, string][];
let emitter: Emitter<Events>;
let seen: string[];

beforeEach(() => {
  failed = [];
  seen = [];
  emitter = new Emitter((error, event) => failed.push([error, event]));
});

const note = (name: string) => (payload: number) => void seen.push(`${name}${payload}`);

test('listeners are called in the order they were added, each with the payload', () => {
  emitter.on('a', note('x'));
  emitter.on('a', note('y'));
  expect(emitter.emit('a', 1)).toBe(true);
  expect(seen).toEqual(['x1', 'y1']);
  expect(emitter.emit('b', 'nobody listens')).toBe(false);
});

test('a listener that throws disturbs neither the emitter nor the others', () => {
  const error = new Error('thrown');
  emitter.on('a', () => {
    throw error;
  });
  emitter.on('a', note('y'));
  expect(emitter.emit('a', 1)).toBe(true);
  expect(seen).toEqual(['y1']);
  expect(failed).toEqual([[error, 'a']]);
});

test('a listener that rejects is reported, not an unhandled rejection', async () => {
  const error = new Error('rejected');
  emitter.on('a', (async () => Promise.reject(error)) as () => void);
  emitter.emit('a', 1);
  await new Promise(setImmediate);
  expect(failed).toEqual([[error, 'a']]);
});

test('one removed during an emit counts from the next one', () => {
  emitter.on('a', () => second[Symbol.dispose]());
  const second = emitter.on('a', note('y'));
  emitter.emit('a', 1);
  emitter.emit('a', 2);
  expect(seen).toEqual(['y1']);
});

test('one added during an emit counts from the next one', () => {
  const first = emitter.on('a', () => {
    first[Symbol.dispose]();
    emitter.on('a', note('new'));
  });
  emitter.emit('a', 1);
  expect(seen).toEqual([]);
  emitter.emit('a', 2);
  expect(seen).toEqual(['new2']);
});

test('an emit inside an emit goes through all its listeners before the outer one goes on', () => {
  emitter.on('a', (payload) => void (payload === 1 && emitter.emit('a', 2)));
  emitter.on('a', note('y'));
  emitter.emit('a', 1);
  expect(seen).toEqual(['y2', 'y1']);
});

test('disposing twice removes once, also when the same function was added twice', () => {
  const listener = note('x');
  const first = emitter.on('a', listener);
  emitter.on('a', listener);
  expect(emitter.listenerCount('a')).toBe(2);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  expect(emitter.listenerCount('a')).toBe(1);
  emitter.emit('a', 1);
  expect(seen).toEqual(['x1']);
});

test('the last one gone, nobody listens', () => {
  emitter.on('a', note('x'))[Symbol.dispose]();
  expect(emitter.listenerCount('a')).toBe(0);
  expect(emitter.emit('a', 1)).toBe(false);
});

test('what was cleared stays cleared, and its disposal removes nobody else', () => {
  const listener = note('x');
  const old = emitter.on('a', listener);
  emitter.clear();
  expect(emitter.emit('a', 1)).toBe(false);
  emitter.on('a', note('y'));
  emitter.on('a', listener);
  old[Symbol.dispose]();
  emitter.emit('a', 2);
  expect(seen).toEqual(['y2', 'x2']);
});
