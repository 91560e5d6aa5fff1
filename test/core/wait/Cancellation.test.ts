import { expect, test } from 'vitest';
import { Cancellation, signalOf } from '../../../src/core/wait/Cancellation.js';

const noting = (seen: unknown[], name = 'entry') => ({
  onAbort: (reason: unknown): void => void seen.push([name, reason]),
});

test('whoever joined is told once, with the reason; whoever left is not', () => {
  const seen: unknown[] = [];
  const cancellation = new Cancellation();
  const [stays, leaves] = [noting(seen, 'stays'), noting(seen, 'leaves')];
  cancellation.join(stays);
  cancellation.join(leaves).leave(leaves);
  cancellation.leave(leaves);
  expect([cancellation.aborted, cancellation.reason]).toEqual([false, undefined]);
  cancellation.throwIfAborted();
  cancellation.abort('first');
  cancellation.abort('second');
  expect(seen).toEqual([['stays', 'first']]);
  expect([cancellation.aborted, cancellation.reason]).toEqual([true, 'first']);
  expect(() => cancellation.throwIfAborted()).toThrow('first');
});

test('one that an earlier one took out is not told, and what one throws keeps it from no other', () => {
  const seen: unknown[] = [];
  const cancellation = new Cancellation();
  const taken = noting(seen, 'taken');
  const failing = (message: string) => ({
    onAbort: () => {
      cancellation.leave(taken);
      throw new Error(message);
    },
  });
  cancellation.join(failing('one'));
  cancellation.join(taken);
  cancellation.join(failing('two'));
  cancellation.join(noting(seen, 'last'));
  expect(() => cancellation.abort('over')).toThrow(AggregateError);
  expect(seen).toEqual([['last', 'over']]);
});

test('its signal is one and the same, made before the abort or after it, and says what a signal says without a reason', () => {
  const early = new Cancellation();
  const { signal } = early;
  const seen: unknown[] = [];
  signal.addEventListener('abort', () => seen.push(signal.reason));
  early.abort('enough');
  expect([early.signal === signal, seen]).toEqual([true, ['enough']]);
  const late = new Cancellation();
  late.abort();
  expect(late.signal.aborted).toBe(true);
  expect([late.signal.reason, (late.reason as DOMException).name]).toEqual([late.reason, 'AbortError']);
});

test('a reason that cannot be looked at is replaced', () => {
  const cancellation = new Cancellation();
  cancellation.abort(
    new Proxy(new Error('x'), {
      getPrototypeOf: () => {
        throw new Error('no');
      },
    }),
  );
  expect(cancellation.reason).toBeInstanceOf(Error);
});

test('what takes signals alone gets one of either kind', () => {
  const cancellation = new Cancellation();
  const { signal } = new AbortController();
  expect([signalOf(cancellation), signalOf(signal), signalOf(undefined)]).toEqual([
    cancellation.signal,
    signal,
    undefined,
  ]);
});
