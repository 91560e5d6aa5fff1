import { expect, test } from 'vitest';
import { idsInGarbage } from '../../../src/connection/channel/unread/idsInGarbage.js';

const HALF = '{"jsonrpc":"2.0","result":{"text":"half of it';

test('answers behind half of one are found however closely they stand, and each place is looked at a few times at most', () => {
  for (let gap = 0; gap < 1_400; gap += 7) {
    const answers = [7, 8, 9].map((id) => `{"jsonrpc":"2.0","id":${id},"result":"${'x'.repeat(gap)}"}`);
    expect([...idsInGarbage(Buffer.from(HALF + answers.join('')))]).toEqual([7, 8, 9]);
    const ended = [7, 8, 9].map((id) => `{"result":"${'x'.repeat(gap)}","id":${id},"jsonrpc":"2.0"}`);
    expect([...idsInGarbage(Buffer.from(`{"result":"half${ended.join('')}`))]).toEqual([7, 8, 9]);
  }
  const line = Buffer.from(HALF + Array.from({ length: 1_000 }, (_, at) => `],"id":${at}}{"jsonrpc"`).join(''));
  let bytes = 0;
  line.toString = (encoding, start = 0, end = line.length) => {
    bytes += Math.max(0, Math.min(end, line.length) - start);
    return Buffer.prototype.toString.call(line, encoding, start, end);
  };
  expect(idsInGarbage(line).size).toBeGreaterThan(900);
  expect(bytes).toBeLessThan(10 * line.length);
});
