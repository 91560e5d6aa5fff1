import { folder } from '../arguments.js';

/** Where the commands look for what people's sign-ins gave. */
export interface TokensOption {
  readonly tokens?: string;
}

/** The flags of `--tokens`, the same for every command. */
export const TOKENS_FLAG = [
  '--tokens <folder>',
  'where sign-ins are kept (default: the data folder of this user)',
  folder,
] as const;
