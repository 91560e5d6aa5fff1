declare module 'parse-prometheus-text-format' {
  /** Families as Prometheus reads them. */
  const parse: (text: string) => unknown[];
  export = parse;
}
