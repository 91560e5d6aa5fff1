import fc from 'fast-check';
import { RE2JS } from 're2js';
import { expect, test, vi } from 'vitest';
import { CallResult } from '../../src/connection/calls/CallResult.js';
import type { MiddlewareCall } from '../../src/connection/calls/Middleware.js';
import {
  decodedInTurns,
  encodedInTurns,
  LONG_CHARS,
  replacedInTurns,
  STEP_CHARS,
  unescapedInTurns,
} from '../../src/middleware/ready/longText.js';
import { redact } from '../../src/middleware/ready/redact.js';
import { countTurns } from '../support/countTurns.js';

/** Of none does a match depend on more than a part's length of text. */
const PATTERNS = ['secret-\\d+', '\\bkey=(\\w)\\w*', '(?i)pass[^ ]{1,40}word', '^a+', 'é+$', '😀|ü{2,9}'];
const WORDS = ['secret-12', 'xkey=abc', ' key=def ', 'PASS--word', 'aaa', 'ééé', '😀', 'üüü', ' ', '\n', '-'];

test('a long text has replaced in it what the whole would, wherever its parts end', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom(...WORDS), fc.integer({ min: 0, max: 18_000 })), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.constantFrom(...PATTERNS),
      async (words, source) => {
        const text = words.map(([word, gap]) => word + '.'.repeat(gap)).join('');
        const pattern = RE2JS.compile(source);
        const told = await replacedInTurns(text, pattern, (said) => `<${said.length}>`);
        const wanted = pattern.matcher(text).replaceAll((said: string) => `<${said.length}>`);
        expect(told === wanted).toBe(true);
      },
    ),
    { numRuns: 60 },
  ));

/** What `redact` makes of a result of these strings. */
async function redacted(texts: readonly string[], pattern: string, replacement: string): Promise<unknown> {
  const call = { kind: 'request', from: 'client', method: 'x', params: {} } as MiddlewareCall;
  const redacting = redact({ patterns: [pattern, 'none'], replacement });
  return ((await redacting(call, async () => CallResult.of(texts))) as CallResult).value;
}

test('a text of up to 65,536 characters has replaced in it what the whole would, groups and matches of any length too', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom(...WORDS, 'BEGIN', 'END'), fc.integer({ min: 0, max: 16_000 })), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.constantFrom(...PATTERNS, '\\b(k)ey=\\w', '\\B(a+)\\b', '(BEGIN)[^!]*END', '^x(.)|(\\D)$'),
      async (words, source) => {
        const text = words
          .map(([word, gap]) => word + '.'.repeat(gap))
          .join('')
          .slice(0, LONG_CHARS);
        const told = await redacted([text], source, '<$&$1>');
        expect(told).toEqual([RE2JS.compile(source).matcher(text).replaceAll('<$&$1>')]);
      },
    ),
    { numRuns: 60 },
  ));

/** Every look at the clock shows that a turn is over. */
function slowClock(): Disposable {
  let nowMs = performance.now();
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => {
    nowMs += 10;
    return nowMs;
  });
  return { [Symbol.dispose]: () => spy.mockRestore() };
}

test('redact: what takes long in a string is done match by match, with a look at the clock behind each', async () => {
  const texts = [1, 2, 3].map((each) => `${each} ${'1 '.repeat(4_000)}`);
  const wanted = texts.map((each) => RE2JS.compile('\\b(?:\\d[ -]*?){13,16}\\b').matcher(each).replaceAll('X'));
  using _ = slowClock();
  using turns = countTurns();
  expect(await redacted(texts, '\\b(?:\\d[ -]*?){13,16}\\b', 'X')).toEqual(wanted);
  expect(turns.count).toBeGreaterThan(700);
});

test('redact: strings that are no longer than a step are gone through one by one', async () => {
  const texts = Array.from({ length: 100 }, (_, at) => `${at} ${'1 '.repeat(500)}`);
  using _ = slowClock();
  using turns = countTurns();
  await redacted(texts, '\\b(?:\\d[ -]*?){13,16}\\b', 'X');
  expect(turns.count).toBeGreaterThanOrEqual(99);
});

test('each turn takes a part; a match without an end takes all that is left with it', async () => {
  using _ = slowClock();
  using turns = countTurns();
  const text = `secret-1${'s'.repeat(20 * LONG_CHARS)}secret-22`;
  const told = await replacedInTurns(text, RE2JS.compile('secret-\\d+'), () => 'X');
  expect(told === `X${text.slice(8, -9)}X`).toBe(true);
  expect(turns.count).toBeGreaterThanOrEqual(50);
  const endless = `a secret ${'s'.repeat(3 * LONG_CHARS)}\n`;
  expect(await replacedInTurns(endless, RE2JS.compile('secret.*'), () => 'X')).toBe('a X');
  const ends = `a secret ${'s'.repeat(LONG_CHARS / 4)}\nb`;
  expect(await replacedInTurns(ends, RE2JS.compile('secret.*'), () => 'X')).toBe('a X\nb');
});

test('bytes are decoded and encoded in turns, no character of them cut', async () => {
  const text = `\ufeff${'aé😀'.repeat(300_000)}`;
  using turns = countTurns();
  expect((await decodedInTurns(Buffer.from(text))) === text).toBe(true);
  expect((await encodedInTurns(text)).equals(Buffer.from(text))).toBe(true);
  expect(turns.count).toBeGreaterThanOrEqual(10);
  const odd = Buffer.from([0x22, 0xff, 0xe2, 0x82, 0x22]);
  expect(await decodedInTurns(odd)).toBe(odd.toString());
});

test('escapes are read in turns, none of them cut', async () => {
  const escapes = fc.array(fc.constantFrom('\\', '\\\\', '\\"', '\\u0041', '\\u', '\\u00', '/', '"', 'u', '4', 'a\\'), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(escapes, fc.integer({ min: 0, max: 12 })), { minLength: 1 }), async (parts) => {
      const text = parts.map(([each, less]) => each.join('') + 'x'.repeat(STEP_CHARS - less)).join('');
      const wanted = text.replace(/\\(?:u([0-9a-f]{4})|(["\\/]))/gi, (_, hex: string | undefined, char: string) =>
        hex === undefined ? char : String.fromCharCode(Number.parseInt(hex, 16)),
      );
      expect((await unescapedInTurns(text)) === wanted).toBe(true);
    }),
    { numRuns: 60 },
  );
  using _ = slowClock();
  using turns = countTurns();
  await unescapedInTurns('\\/'.repeat(20 * STEP_CHARS));
  expect(turns.count).toBeGreaterThan(30);
});
