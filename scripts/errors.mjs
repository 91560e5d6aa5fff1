// Writes docs/errors.md: every error code with its class, what it promises, and the words of its doc comment. `--check`
// writes nothing and says what differs. It reads dist/: `npm run build` first.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ERROR_CODES } from '../dist/errors.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const FILE = 'docs/errors.md';
const sources = ['delays', 'outcomes', 'refusals'].map((name) => ({
  js: readFileSync(`${root}/.build/lib/core/errors/${name}.js`, 'utf8'),
  types: readFileSync(`${root}/dist/core/errors/${name}.d.ts`, 'utf8'),
}));

/** The classes that carry a code, with their words and fields. */
function classesOf(code) {
  return sources.flatMap(({ js, types }) =>
    [...js.matchAll(/^export class (\w+) extends (?:\w+) \{([\s\S]*?)^\}/gm)]
      .filter(([, , body]) => body.includes(`super('${code}'`))
      .map(([, name]) => {
        const found = new RegExp(
          `(?:/\\*\\*((?:(?!\\*/)[\\s\\S])*)\\*/\\s*)?export declare class ${name} [^{]*\\{([\\s\\S]*?)^\\}`,
          'm',
        ).exec(types);
        const words = (found?.[1] ?? '')
          .replace(/^\s*\* ?/gm, '')
          .replace(/\s+/g, ' ')
          .trim();
        const fields = [...(found?.[2] ?? '').matchAll(/^ {4}readonly (\w+)\??:/gm)].map(([, field]) => `\`${field}\``);
        return { name, words, fields };
      }),
  );
}

const ACTED = {
  no: 'the call never ran',
  perhaps: 'the server may have acted: calling again may repeat it',
  answered: 'the server ran it, and this is its answer',
  undefined: 'not about a call',
};

const sections = Object.entries(ERROR_CODES).map(([code, { acted, retryable }]) => {
  const classes = classesOf(code);
  if (classes.length === 0) throw new Error(`no class has ${code}`);
  const lines = classes.map(({ name, words, fields }) => {
    const has = fields.length === 0 ? '' : ` Fields: ${fields.join(', ')}.`;
    return `\`${name}\`: ${words}${has}`;
  });
  return `## ${code}\n\n${lines.join('\n\n')}\n\n- acted: \`${acted}\`, ${ACTED[acted]}\n- retryable: \`${retryable}\`\n`;
});

const text = `# Error codes

Every error extends \`PoolkitError\` and has a \`code\`, \`retryable\` and \`acted\`. Decide by class or by code, never by the message. An abort rejects
with the signal's own reason. Made by \`scripts/errors.mjs\` from the classes.

\`\`\`ts
import { PoolkitError, RateLimitedError } from 'mcp-poolkit/errors';

export function waitMs(error: unknown): number | undefined {
  if (error instanceof RateLimitedError) return error.retryAfterMs;
  return error instanceof PoolkitError && error.retryable ? 100 : undefined; // undefined: do not call again
}
\`\`\`

${sections.join('\n')}`;
if (!process.argv.includes('--check')) writeFileSync(`${root}/${FILE}`, text);
else if (readFileSync(`${root}/${FILE}`, 'utf8') !== text) {
  console.error(`${FILE} is not what the classes make: node scripts/errors.mjs`);
  process.exit(1);
}
