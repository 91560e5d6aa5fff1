// The status page: web/status as one file, dist/gateway/status/page.html, with its script and its style inside.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const MAX_BYTES = 120 * 1_024;
const root = fileURLToPath(new URL('../..', import.meta.url));

const { output } = await build({
  root: `${root}/web/status`,
  configFile: false,
  logLevel: 'warn',
  build: { write: false, target: 'es2022', modulePreload: false, assetsInlineLimit: 0, reportCompressedSize: false },
});
const text = (end) =>
  output
    .filter(({ fileName }) => fileName.endsWith(end))
    .map(({ code, source }) => code ?? source)
    .join('\n');
// An end tag inside a script would end it.
const script = text('.js').replaceAll('</script', '<\\/script');
const html = text('.html')
  .replace(/<script[^>]*src=[^>]*><\/script>\s*/g, '')
  .replace(/<link rel="stylesheet"[^>]*>\s*/g, '')
  .replace('</head>', () => `<style>${text('.css')}</style>\n</head>`)
  .replace('</body>', () => `<script type="module">${script}</script>\n</body>`);
const bytes = Buffer.byteLength(html);
if (bytes > MAX_BYTES) throw new Error(`the status page has ${bytes} bytes, more than ${MAX_BYTES}`);
mkdirSync(`${root}/dist/gateway/status`, { recursive: true });
writeFileSync(`${root}/dist/gateway/status/page.html`, html);
if (process.argv.includes('--sizes')) console.log(`page.html: ${bytes} bytes, ${gzipSync(html).length} as gzip`);
