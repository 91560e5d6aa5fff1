const NAMES: ReadonlySet<string> = new Set(['id', 'result', 'error']);

/** What the names of a message's members say, one after another: it is an answer where one is `jsonrpc`, or none is of anything else. Lines of logs have ids and results, too. */
export class NamesOfAnswer {
  #versioned = false;
  #foreign = false;

  saw(name: string): void {
    if (name === 'jsonrpc') this.#versioned = true;
    else if (!NAMES.has(name)) this.#foreign = true;
  }

  get areAll(): boolean {
    return this.#versioned || !this.#foreign;
  }
}

export function isNamedAsAnswer(message: object): boolean {
  return 'jsonrpc' in message || Object.keys(message).every((name) => NAMES.has(name));
}
