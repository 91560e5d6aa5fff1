import { expect, test } from 'vitest';
import type { Call } from '../../../src/connection/channel/Call.js';
import { ReplyScan } from '../../../src/connection/channel/codec/ReplyScan.js';
import { LargeReply, type LargeReplyHost } from '../../../src/connection/channel/large/LargeReply.js';

test('what was read before a pause, and is held back by its reader, keeps nothing from being read on', () => {
  const call = { id: 1, phase: 'sent', method: 'tools/call', options: {} } as unknown as Call;
  const ended: unknown[] = [];
  let still = 0;
  const host: LargeReplyHost = {
    server: 'a',
    maxMessageBytes: 1_000_000,
    onPart: () => undefined,
    onFull: () => {
      still++;
      return () => void still--;
    },
    onTaken: (_, bytes) => void ended.push(bytes),
    onLate: () => void ended.push('late'),
    onBroken: (_, error) => void ended.push(error),
    onGarbage: (bytes) => void ended.push(bytes),
  };
  let paused = 0;
  const flow = {
    pause: (): boolean => {
      paused++;
      return true;
    },
    resume: (): void => void paused--,
  };
  const written: string[] = [];
  // Only its first piece fills the reader: of a string that may be changed nothing goes on before its end.
  const sink = { write: (piece: Buffer): boolean => written.push(piece.toString()) > 1 };
  const begun = [Buffer.from('{"id":1,"result":["a')];
  const scan = new ReplyScan();
  for (const part of begun) scan.push(part);
  const reply = new LargeReply(call, scan, 17, sink, host, flow, true);
  reply.begin(begun);
  expect([paused, still]).toEqual([1, 1]);
  reply.push(Buffer.from('bc'));
  // Something came: its call's time goes on. It is still not read.
  expect([paused, still]).toEqual([1, 0]);
  reply.onRoom();
  expect([paused, still]).toEqual([0, 0]);
  reply.onRoom();
  expect(paused).toBe(0);
  const rest = Buffer.from('d"]}');
  reply.push(rest);
  reply.end();
  expect(written.join('')).toBe('["abcd"]');
  expect(ended).toEqual([begun.concat(rest).reduce((sum, { length }) => sum + length, 2)]);
});
