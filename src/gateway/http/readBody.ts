import type { IncomingMessage } from 'node:http';

export type Body = { readonly text: string } | { readonly status: 400 | 413 | 415; readonly why: string };

/** Reads a JSON body of `maxBytes` at the most. Rejects when the client goes away before its end. */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Body> {
  const { headers } = request;
  const type = headers['content-type'];
  const encoding = headers['content-encoding'];
  const tooLarge: Body = { status: 413, why: `a body may have ${maxBytes} bytes` };
  if (type === undefined || !/^application\/json\s*(;|$)/i.test(type)) {
    return Promise.resolve({ status: 415, why: 'content-type must be application/json' });
  }
  if (encoding !== undefined && encoding !== 'identity') {
    return Promise.resolve({ status: 415, why: 'a content-encoding is not understood' });
  }
  if (Number(headers['content-length'] ?? 0) > maxBytes) return Promise.resolve(tooLarge);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else {
        request.removeAllListeners('data');
        request.pause();
        resolve(tooLarge);
      }
    });
    request.on('end', () => {
      const [first] = chunks;
      resolve({ text: (chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks)).toString('utf8') });
    });
    request.on('error', reject);
    request.on('close', () => reject(new Error('the client went away')));
  });
}
