/** A global of every Node, which its types leave to the DOM's. */
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: { readonly Memory: new (size: { readonly initial: number }) => unknown };
};
let works = false;

/**
 * Before the first use of Node's own `fetch`, `Headers` or `Response`: they need WebAssembly, whose memory takes much address space.
 * Where that is not to be had, Node 20 rejects where nothing hears it, and the process ends. @throws Error that says so
 */
export function assertFetch(): void {
  if (works) return;
  try {
    new WebAssembly.Memory({ initial: 1 });
    works = true;
  } catch (cause) {
    const why = 'this process may not address the memory that HTTP takes (see ulimit -v: WebAssembly reserves 10 GB)';
    throw new Error(why, { cause });
  }
}
