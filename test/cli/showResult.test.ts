import { expect, test, vi } from 'vitest';
import { showResult, writeSaid } from '../../src/cli/output/showResult.js';

const bytes = (result: unknown): Buffer => Buffer.from(JSON.stringify(result));

test.each([
  ['text', { content: [{ type: 'text', text: 'a' }] }, 'a\n'],
  ['structured content alone', { structuredContent: { a: 1 } }, '{"a":1}\n'],
  ['structured content and no block', { content: [], structuredContent: { a: 1 } }, '{"a":1}\n'],
  ['nothing', {}, ''],
  ['null content', { content: null }, ''],
  ['a null block', { content: [null, { type: 'text', text: 't' }] }, 'null\nt\n'],
  ['content that is text', { content: 'plain' }, 'plain\n'],
  ['a null text', { content: [{ type: 'text', text: null }] }, '{"type":"text","text":null}\n'],
  ['the form of 2024', { toolResult: { a: 1 } }, '{"toolResult":{"a":1}}\n'],
  ['an image', { content: [{ type: 'image', data: 'x' }] }, '{"type":"image","data":"x"}\n'],
  ['a number for a block', { content: [5, { type: 'text', text: 5 }] }, '5\n{"type":"text","text":5}\n'],
  ['no object', 5, '5\n'],
  ['null', null, 'null\n'],
])('%s is shown', (_, result, text) => {
  expect(showResult('t', bytes(result), false)).toEqual({ text, failed: false });
});

test('numbers keep their digits', () => {
  const result = Buffer.from('{"content":[],"structuredContent":{"id":12345678901234567890,"f":1.10,"s":"1.10"}}');
  expect(showResult('t', result, false).text).toBe('{"id":12345678901234567890,"f":1.10,"s":"1.10"}\n');
  expect(showResult('t', result, true).text).toContain('"id": 12345678901234567890,\n    "f": 1.10,\n    "s": "1.10"');
});

test('a failure without a word says that it is one', () => {
  expect(showResult('t', bytes({ isError: true, content: [] }), false)).toMatchObject({
    failed: true,
    complaint: 'the tool t failed and said nothing',
  });
  expect(showResult('t', bytes({ isError: true, content: [{ type: 'text', text: 'x' }] }), false)).toEqual({
    text: 'x\n',
    failed: true,
  });
});

test('a result that is nested too deep to be printed is told as that, with its tool', () => {
  const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
  for (const result of [`{"content":[${deep}]}`, `{"structuredContent":${deep}}`, `{"other":${deep}}`])
    for (const json of [true, false])
      expect(() => showResult('t', Buffer.from(result), json)).toThrow(
        'the tool t answered, but its result cannot be printed',
      );
});

test('what a tool says cannot steer a terminal, and is as it came where it is piped', async () => {
  const { stdout } = process;
  const told: unknown[] = [];
  const write = vi.spyOn(stdout, 'write').mockImplementation(((text: string, done: () => void) => {
    told.push(text);
    done();
    return true;
  }) as typeof stdout.write);
  const isTTY = Object.getOwnPropertyDescriptor(stdout, 'isTTY');
  for (const value of [true, false]) {
    Object.defineProperty(stdout, 'isTTY', { value, configurable: true });
    await writeSaid('a\r\n\u001b[2J\n');
  }
  write.mockRestore();
  if (isTTY === undefined) Reflect.deleteProperty(stdout, 'isTTY');
  else Object.defineProperty(stdout, 'isTTY', isTTY);
  expect(told).toEqual(['a\n\\u001b[2J\n', 'a\r\n\u001b[2J\n']);
});
