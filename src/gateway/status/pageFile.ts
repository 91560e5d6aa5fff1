import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { builtFile } from '../../core/files/packageFiles.js';

export interface StatusPage {
  readonly html: string;
  /** Its Content-Security-Policy: what stands in the page may run, and nothing else. */
  readonly policy: string;
}

/** The page as the package has it: one file, made by the build. */
export async function pageOf(): Promise<StatusPage> {
  const html = await readFile(builtFile('gateway/status/page.html', import.meta.url), 'utf8');
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
