/** Differences that are meant, by where they are. */
export const REASONS: readonly { readonly path: RegExp; readonly why: string }[] = [
  {
    path: /^initialize\.protocolVersion: /,
    why: 'A client is answered in its own version, also where the server speaks an older one: the gateway speaks that with the server.',
  },
];

/** Those of the differences that have no reason. */
export const unexplained = (differs: readonly string[]): readonly string[] =>
  differs.filter((each) => !REASONS.some(({ path }) => path.test(each)));
