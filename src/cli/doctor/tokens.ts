import type { Tool } from '@modelcontextprotocol/client';
import { searchTools } from '../../gateway/curation/ToolSearch.js';

/**
 * What a list of tools costs a model, about: names, descriptions and schemas as JSON. Counted without a tokenizer, whose tables are
 * tens of megabytes: a word is a token for each six letters of it, a mark one for each two in a row, a character of scripts without
 * spaces one. Within a fifth of o200k for the three tools of `expose: search`.
 */
export function tokensOf(tools: readonly Tool[]): number {
  const text = JSON.stringify(tools.map(({ name, description, inputSchema }) => ({ name, description, inputSchema })));
  let tokens = 0;
  for (const [piece] of text.matchAll(
    /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]|[\p{L}\p{N}]+|[^\s\p{L}\p{N}]+/gu,
  )) {
    tokens += /^[\p{L}\p{N}]/u.test(piece) ? Math.ceil(piece.length / 6) : Math.ceil(piece.length / 3);
  }
  return tokens;
}

/** What the three tools cost that stand for all with `expose: "search"`. */
export const searchTokens = (servers: readonly string[]): number => tokensOf(searchTools(servers));
