import { expect, test } from 'vitest';
import { showResult } from '../../src/cli/output/showResult.js';

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
  ['no object', 5, '5\n'],
  ['null', null, 'null\n'],
])('%s is shown', (_, result, text) => {
  expect(showResult('t', result, false)).toEqual({ text, failed: false });
});

test('a failure without a word says that it is one', () => {
  expect(showResult('t', { isError: true, content: [] }, false)).toMatchObject({
    failed: true,
    complaint: 'the tool t failed and said nothing',
  });
  expect(showResult('t', { isError: true, content: [{ type: 'text', text: 'x' }] }, false)).toEqual({
    text: 'x\n',
    failed: true,
  });
});

test('a result that is nested too deep to be printed is told as that, with its tool', () => {
  const deep = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`);
  for (const result of [{ content: [deep] }, { structuredContent: deep }, { other: deep }])
    for (const json of [true, false])
      expect(() => showResult('t', result, json)).toThrow('the tool t answered, but its result cannot be printed');
});
