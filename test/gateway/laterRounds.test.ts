import { expect, test, vi } from 'vitest';
import { exactText, keepText } from '../../src/connection/channel/codec/exactText.js';
import { NotSentError, OutcomeUnknownError, QueueFullError, RpcError } from '../../src/core/errors.js';
import { HeldQuestions } from '../../src/gateway/bridge/HeldQuestions.js';
import { legacyOverModern } from '../../src/gateway/bridge/LegacyOverModern.js';
import type { CallOptions, Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';

const ASKS = { resultType: 'input_required', inputRequests: { a: { method: 'elicitation/create' } } };

/** A call whose server asks for input, and whose next round fails. */
function begun(failure: Error, onRequest: CallOptions['onRequest'] = async () => ({ action: 'accept' })) {
  let rounds = 0;
  const send = async (): Promise<unknown> => {
    if (rounds++ > 0) throw failure;
    return ASKS;
  };
  const session = { clientInfo: undefined, capabilities: {} } as unknown as Downstream;
  return legacyOverModern({ server: 's', session, params: { name: 'a' }, call: { onRequest } as CallOptions }, send);
}

test('a call whose server has asked for input has begun, whatever becomes of a later round or a question', async () => {
  const refused = new NotSentError('s', 'it is gone');
  await expect(begun(refused)).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', cause: refused });
  const full = (): Promise<never> => Promise.reject(new QueueFullError('questions', 1, 1));
  await expect(begun(refused, full)).rejects.toThrow(OutcomeUnknownError);
  const answer = new RpcError('s', -32602, 'no');
  await expect(begun(answer)).rejects.toBe(answer);
});

test('what a server says beside what it needs is not parsed, and its questions reach the client as they came', async () => {
  const parse = vi.spyOn(JSON, 'parse');
  const beside = `"x":[${'{},'.repeat(300_000)}0]`;
  const question = '{"method":"elicitation/create","params":{"n":1.0,"message":"é"}}';
  const asks = `{"resultType":"input_\\u0072equired",${beside},"inputRequests":{"a":${question}},"requestState":"s","_meta":{}}`;
  const states: unknown[] = [];
  const asked: unknown[] = [];
  const session = { clientInfo: undefined, capabilities: {} } as unknown as Downstream;
  const onRequest: CallOptions['onRequest'] = async ({ params }) => asked.push(exactText(params));
  const result = await legacyOverModern(
    { server: 's', session, params: { name: 'a' }, call: { onRequest } as CallOptions },
    async (params) => Buffer.from(states.push(params?.['requestState']) === 3 ? '{"content":[]}' : asks),
  );
  expect(String(result)).toBe('{"content":[]}');
  expect([states, asked]).toEqual([[undefined, 's', 's'], Array(2).fill('{"n":1.0,"message":"é"}')]);
  for (const [text] of parse.mock.calls) expect(String(text).length).toBeLessThan(1_000);
  parse.mockRestore();
});

test.each([
  ['too many values', `[${'{},'.repeat(100_000)}0]`],
  ['too many levels', `${'['.repeat(600)}${']'.repeat(600)}`],
])('a question of %s fails its call', async (_, value) => {
  const asks = `{"resultType":"input_required","inputRequests":{"a":{"method":"m","params":{"x":${value}}}}}`;
  const session = { clientInfo: undefined, capabilities: {} } as unknown as Downstream;
  const call = { onRequest: async () => ({}) } as unknown as CallOptions;
  const failed = legacyOverModern({ server: 's', session, params: {}, call }, async () => Buffer.from(asks));
  await expect(failed).rejects.toMatchObject({ code: 'ERR_PROTOCOL' });
});

const LARGE = 'x'.repeat(100_000);
const QUESTION = { method: 'elicitation/create' };

/** A call whose server asks two questions at once, of a client whose answers are given by hand. */
function asking(held: HeldBytes, requestState?: string, paramsText?: string) {
  const asked: { readonly signal: AbortSignal; readonly answer: (result: unknown) => void }[] = [];
  const sent: ((result: unknown) => void)[] = [];
  const texts: (string | undefined)[] = [];
  const onRequest: CallOptions['onRequest'] = (_request, { signal }) =>
    new Promise((answer, reject) => {
      asked.push({ signal, answer });
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const session = { capabilities: {}, held: new HeldQuestions('a', held) } as unknown as Downstream;
  const result = legacyOverModern(
    { server: 's', session, params: { name: 'a' }, call: { onRequest, paramsText } as CallOptions },
    (_params, call) => {
      texts.push(call.paramsText);
      return new Promise((resolve) => sent.push(resolve));
    },
  );
  result.catch(() => undefined);
  sent[0]?.({ resultType: 'input_required', inputRequests: { a: QUESTION, b: QUESTION }, requestState });
  return { asked, sent, texts, result };
}

test('what a server wants back, and the answers to some of its questions, count as held until it has them', async () => {
  const held = new HeldBytes(1e9);
  const { asked, sent, result } = asking(held, LARGE);
  await expect.poll(() => asked.length).toBe(2);
  expect(held.held).toBeGreaterThan(200_000);
  asked[0]?.answer({ action: 'accept', content: { a: LARGE } });
  await expect.poll(() => held.held).toBeGreaterThan(400_000);
  asked[1]?.answer({ action: 'decline' });
  await expect.poll(() => sent.length).toBe(2);
  expect(held.held).toBeGreaterThan(400_000);
  sent[1]?.({ resultType: 'complete', content: [] });
  await result;
  expect(held.held).toBe(0);
});

test('a state for which there is no room is not kept, and nothing is asked', async () => {
  const held = new HeldBytes(300_000);
  const { asked, result } = asking(held, LARGE);
  await expect(result).rejects.toMatchObject({ rpcCode: -32_603, message: expect.stringContaining('too much waits') });
  expect([asked.length, held.held]).toEqual([0, 0]);
});

test('an answer for which there is no room fails its call, whose other questions are withdrawn', async () => {
  const held = new HeldBytes(300_000);
  held.takeFor('a', 150_000);
  const { asked, result } = asking(held);
  await expect.poll(() => asked.length).toBe(2);
  asked[0]?.answer({ action: 'accept', content: { a: LARGE } });
  await expect(result).rejects.toMatchObject({
    rpcCode: -32_603,
    message: expect.stringContaining('too much is held'),
  });
  expect([asked[1]?.signal.aborted, held.held]).toEqual([true, 150_000]);
});

test('answers go to a modern server as they came, and not at all where all of a round are too large for one turn', async () => {
  const answerOf = (text: string): unknown => {
    const answer: unknown = JSON.parse(text);
    keepText(answer, text);
    return answer;
  };
  const { asked, sent, texts, result } = asking(new HeldBytes(1e9), undefined, '{"name":"a"}');
  await expect.poll(() => asked.length).toBe(2);
  asked[1]?.answer(answerOf('{"n":12345678901234567890}'));
  asked[0]?.answer({ action: 'decline' });
  await expect.poll(() => sent.length).toBe(2);
  expect(texts[1]).toContain('"a":{"action":"decline"}');
  expect(texts[1]).toContain('"b":{"n":12345678901234567890}');
  sent[1]?.({ resultType: 'complete', content: [] });
  await result;
  const large = asking(new HeldBytes(1e9));
  await expect.poll(() => large.asked.length).toBe(2);
  for (const { answer } of large.asked) answer(answerOf(`{"a":"${'x'.repeat(4.5 * 1_024 * 1_024)}"}`));
  await expect(large.result).rejects.toThrow('have more than 8388608 characters');
  expect(large.sent.length).toBe(1);
});

test('what a server is sent of them counts beside the answers, and fails its call where there is no room', async () => {
  const held = new HeldBytes(1e9);
  const { asked, sent } = asking(held);
  await expect.poll(() => asked.length).toBe(2);
  const before = held.held;
  asked[0]?.answer({ action: 'accept', content: { a: LARGE } });
  await expect.poll(() => held.held).toBeGreaterThan(before + 200_000);
  const one = held.held - before;
  asked[1]?.answer({ action: 'accept', content: { a: LARGE } });
  await expect.poll(() => sent.length).toBe(2);
  // Two answers, and the text of both.
  expect(held.held - before).toBeGreaterThan(3.9 * one);
  sent[1]?.({ resultType: 'complete', content: [] });
  await expect.poll(() => held.held).toBe(0);
  const full = new HeldBytes(1_000_000);
  const short = asking(full);
  await expect.poll(() => short.asked.length).toBe(2);
  full.takeFor('a', 200_000);
  for (const each of short.asked) each.answer({ action: 'accept', content: { a: LARGE } });
  await expect(short.result).rejects.toMatchObject({
    rpcCode: -32_603,
    message: expect.stringContaining('too much is held'),
  });
  expect(full.held).toBe(200_000);
});
