import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { builtFile } from '../../core/files/packageFiles.js';

const FILE = 'gateway/status/page.html';

/** What is answered where there is no page. */
export const NO_PAGE = `The status page is not here: this program is a bundle with mcp-poolkit inside, which leaves the page's file out.
Leave the package out of the bundle (esbuild: --external:mcp-poolkit), or copy its dist/${FILE} to page.html beside the bundle.
The figures are at status/data.json and, with metrics, at /metrics.
`;

export interface StatusPage {
  readonly html: string;
  /** Its Content-Security-Policy: what stands in the page may run, and nothing else. */
  readonly policy: string;
}

/** The page as the package has it: one file, made by the build. Undefined where the package is inside a bundle without it. */
export async function pageOf(): Promise<StatusPage | undefined> {
  let file: string;
  try {
    file = builtFile(FILE, import.meta.url);
  } catch {
    return undefined;
  }
  const html = await readFile(file, 'utf8');
  const hashes = (tag: string): string =>
    [...html.matchAll(new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`, 'g'))]
      .map(([, text = '']) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`)
      .join(' ');
  const policy = [
    "default-src 'none'",
    `script-src ${hashes('script')}`,
    `style-src ${hashes('style')}`,
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ];
  return { html, policy: policy.join('; ') };
}
