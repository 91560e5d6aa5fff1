import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type MemberEdit, MemberRewriter } from '../../../src/gateway/rpc/rewriting/MemberRewriter.js';
import { StringScan } from '../../../src/gateway/rpc/rewriting/StringScan.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

const EDITS: Readonly<Record<string, MemberEdit>> = {
  set: '"private"',
  'gone"': null,
  told: (value) => (value === '1' ? undefined : value.startsWith('"') ? `[${value}]` : value),
};
const text = fc.string({ unit: fc.constantFrom('a', 'ü', '"', '\\', '\n', '{', '}', ',', ':', '😀'), maxLength: 90 });
const value = fc.oneof(text, fc.constant(1), fc.jsonValue({ maxDepth: 3 }));
const key = fc.oneof(fc.constantFrom('set', 'gone"', 'told'), text);
const space = fc.constantFrom('', ' ', '\n\t');
const member = fc.tuple(key, value, space, fc.boolean());

/** As it is written, and what is wanted of it: undefined for a member that is left out. */
function written([name, said, gap, escaped]: [string, unknown, string, boolean]): readonly [
  string,
  string | undefined,
] {
  const json = JSON.stringify(said);
  const quoted = escaped
    ? `"${[...name].map((char) => (char < 'ÿ' ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : char)).join('')}"`
    : JSON.stringify(name);
  const edit = Object.hasOwn(EDITS, name) ? EDITS[name] : undefined;
  const own = typeof edit === 'function' ? edit(json) : edit;
  const all = `${gap}${quoted}${gap}:${gap}${json}${gap}`;
  if (edit === undefined || own === json) return [all, all];
  return [all, own === undefined || own === null ? undefined : `${gap}${quoted}:${own}`];
}

test(
  'members are changed, left out and added, and everything else stays as it was, however the JSON is cut',
  () =>
    fc.assert(
      fc.property(
        fc.array(member, { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        fc.constantFrom('', '"first":0,"second":"x"'),
        (members, cuts, added) => {
          const all = members.map(written);
          const bytes = Buffer.from(` {${all.map(([each]) => each).join(',')}}\n`);
          const left = all.map(([, each]) => each).filter((each) => each !== undefined);
          const wanted = ` {${[...(added === '' ? [] : [added]), ...left].join(',')}}\n`;
          const rewriter = new MemberRewriter(EDITS, added);
          const out: Buffer[] = [];
          let from = 0;
          for (const to of [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)) {
            if (to > from) out.push(rewriter.push(bytes.subarray(from, to)));
            from = to;
          }
          expect(Buffer.concat(out).toString()).toBe(wanted);
          if (wanted !== bytes.toString()) expect(rewriter.changed).toBe(true);
        },
      ),
      { numRuns: RUNS * 5 },
    ),
  RUNS_TIMEOUT_MS,
);

test('what is no object stays as it is, and members deeper inside do', () => {
  for (const json of ['[{"set":1}]', ' "set"', '7', '{}', '{ }', '{"a":{"set":1,"gone\\"":[]},"b":[{"told":1}]}']) {
    const rewriter = new MemberRewriter(EDITS, json.startsWith('{') ? '' : '"first":1');
    expect(rewriter.push(Buffer.from(json)).toString()).toBe(json);
    expect(rewriter.changed).toBe(false);
  }
});

test('a value that has to be looked at is not kept beyond what may be read; one that need not be is never kept', () => {
  const piece = Buffer.alloc(1_024 * 1_024, 's');
  const told = new MemberRewriter(EDITS);
  told.push(Buffer.from('{"told":"'));
  for (let each = 0; each < 7; each++) expect(told.push(piece)).toHaveLength(0);
  expect(() => told.push(piece)).toThrow(/has to read .* it may have 8388608 \(fixed\)/);
  const gone = new MemberRewriter(EDITS);
  gone.push(Buffer.from('{"gone\\"":"'));
  for (let each = 0; each < 12; each++) expect(gone.push(piece)).toHaveLength(0);
  expect(gone.push(Buffer.from('","a":1}')).toString()).toBe('"a":1}');
  // Nor is space before a key.
  const wide = new MemberRewriter(EDITS);
  wide.push(Buffer.from('{"a":1,'));
  for (let each = 0; each < 12; each++) expect(wide.push(Buffer.alloc(1_024 * 1_024, ' '))).toHaveLength(0);
  expect(JSON.parse(`{"x":0${wide.push(Buffer.from('"b":2}'))}`)).toEqual({ x: 0, b: 2 });
});

test('the end of a string is found wherever it is cut, however many backslashes stand in it', () => {
  const units = fc.constantFrom('\\\\', '\\"', 'a', 'a'.repeat(70), '\\\\'.repeat(70));
  fc.assert(
    fc.property(fc.array(units, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 4 }), (parts, cuts) => {
      const bytes = Buffer.from(`${parts.join('')}" "`);
      const scan = new StringScan();
      let from = 0;
      let found = -1;
      for (const to of [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)) {
        if (to === from || found >= 0) continue;
        const end = scan.endOf(bytes.subarray(from, to), 0);
        if (end >= 0) found = from + end;
        from = to;
      }
      expect(found).toBe(bytes.length - 3);
    }),
  );
});
