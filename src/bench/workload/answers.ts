import { WrongAnswerError } from '../load/Operation.js';

/** The parts of a tool's answer that a check looks at. */
interface Answer {
  readonly isError?: unknown;
  readonly content?: unknown;
  readonly structuredContent?: unknown;
}

/** What an answer must look like: how it is made is learned from one answer before the run. */
export interface AnswerShape {
  /** Whether answers of this tool hold the call's nonce. */
  readonly echoes: boolean;
  /** Types of the content blocks, and whether there is structured content. */
  readonly signature: string;
}

/** The form of a tool's answer: block types in order, each kind once, and structured content. */
export function signatureOf(result: unknown): string {
  const { content, structuredContent } = answerOf(result);
  const types = Array.isArray(content)
    ? content.map((block) => String((block as { type?: unknown } | null)?.type))
    : [typeof content];
  return `${[...new Set(types)].join(',')}${structuredContent === undefined ? '' : '+structured'}`;
}

/** Whether the nonce stands in the answer, wherever. */
export function holds(result: unknown, nonce: string): boolean {
  const { content } = answerOf(result);
  const first = Array.isArray(content) ? (content[0] as { text?: unknown } | null | undefined)?.text : undefined;
  if (typeof first === 'string' && first.includes(nonce)) return true;
  return JSON.stringify(result).includes(nonce);
}

/** @throws WrongAnswerError when the answer is an error, another call's, or of another form. */
export function checkAnswer(result: unknown, shape: AnswerShape, nonce: string): void {
  const answer = answerOf(result);
  if (answer.isError === true) {
    throw new ToolFailedError(JSON.stringify(answer.content)?.slice(0, 200) ?? 'no content');
  }
  if (shape.echoes) {
    if (!holds(result, nonce)) throw new WrongAnswerError(`it does not hold ${nonce}`);
    return;
  }
  const signature = signatureOf(result);
  if (signature !== shape.signature) throw new WrongAnswerError(`its content is ${signature}, not ${shape.signature}`);
}

/** The tool itself answered with an error (`isError`). */
export class ToolFailedError extends Error {
  readonly code = 'TOOL_ERROR';
  constructor(why: string) {
    super(`the tool answered with an error: ${why}`);
    this.name = 'ToolFailedError';
  }
}

function answerOf(result: unknown): Answer {
  if (typeof result !== 'object' || result === null) throw new WrongAnswerError('it is no object');
  return result as Answer;
}
