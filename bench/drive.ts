/** Who the benchmarks say they are. */
export const IDENTITY = { name: 'bench', version: '1' };

/** Keeps `width` echo calls in flight until `operations` are done; each answer is checked: `prefix` and the text. */
export async function drive(
  operations: number,
  width: number,
  call: (text: string) => Promise<unknown>,
  prefix = '',
): Promise<void> {
  let started = 0;
  const worker = async (): Promise<void> => {
    while (started < operations) {
      const text = `call ${started++}`;
      const result = (await call(text)) as { content: { text: string }[] };
      if (result.content[0]?.text !== prefix + text) throw new Error(`a wrong answer to ${text}`);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
}
