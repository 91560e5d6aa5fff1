import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type JsonPath, StringRewriter } from '../../../src/gateway/rpc/rewriting/StringRewriter.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

const KEYS: ReadonlySet<string> = new Set(['uri', 'ü"']);

/** A value with other strings under the keys, the plain way; `asked` gets where they stand. */
function rewritten(value: unknown, asked: [JsonPath, string][], path: JsonPath = []): unknown {
  if (typeof value === 'string' && KEYS.has(path.at(-1) as string)) {
    asked.push([path, value]);
    return value.length % 2 === 0 ? `<${value}>` : value;
  }
  if (Array.isArray(value)) return value.map((each, i) => rewritten(each, asked, [...path, i]));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, rewritten(each, asked, [...path, key])]));
}

const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    fc.oneof(
      fc.string({ unit: fc.constantFrom('a', 'ü', '"', '\\', '\n', '{', ',', '😀') }),
      fc.integer(),
      fc.constant(null),
    ),
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom('uri', 'ü"', 'a\\', 'other'), tie('tree'), { maxKeys: 4 }),
  ),
}));

test(
  'strings under the keys are changed, and everything else stays as it was, however the JSON is cut',
  () =>
    fc.assert(
      fc.property(tree, fc.array(fc.nat(), { maxLength: 8 }), fc.constantFrom(undefined, 1), (value, cuts, indent) => {
        const bytes = Buffer.from(JSON.stringify(value, undefined, indent));
        const [asked, told]: [JsonPath, string][][] = [[], []];
        const rewriter = new StringRewriter(KEYS, (path, text) => {
          told?.push([[...path], text]);
          return text.length % 2 === 0 ? `<${text}>` : undefined;
        });
        const out: Buffer[] = [];
        let from = 0;
        for (const to of [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)) {
          if (to > from) out.push(rewriter.push(bytes.subarray(from, to)));
          from = to;
        }
        const wanted = JSON.stringify(rewritten(value, asked ?? []), undefined, indent);
        expect(Buffer.concat(out).toString()).toBe(wanted);
        expect(told).toEqual(asked);
        expect(rewriter.changed).toBe(wanted !== bytes.toString());
      }),
      { numRuns: RUNS * 5 },
    ),
  RUNS_TIMEOUT_MS,
);

test('a string that is too long to be a URI goes on as it is, and is not kept', () => {
  const rewriter = new StringRewriter(KEYS, () => 'changed');
  const long = 'x'.repeat(100_000);
  const out = [`{"uri":"${long}`, `${long}`, `","uri":"short"}`].map((piece) =>
    rewriter.push(Buffer.from(piece)).toString(),
  );
  expect(out.join('')).toBe(`{"uri":"${long}${long}","uri":"changed"}`);
  expect(out[1]).toBe(long);
});
