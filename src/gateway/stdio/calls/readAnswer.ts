import type { IncomingMessage } from 'node:http';
import type { RawReply } from '../../../connection/channel/codec/envelope.js';
import type { IncomingBytes } from '../../../connection/net/body/IncomingBytes.js';
import type { Clock, Timer } from '../../../core/clock.js';
import { MessageTooLargeError, messageOf, OutcomeUnknownError, ProtocolError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { idTextOf, type RequestMessage } from '../../rpc/envelope.js';
import { Refusal } from '../../rpc/failure.js';
import { isReadHere, noAnswer } from '../answers.js';
import type { ClientPipe } from '../ClientPipe.js';
import { isEventStream, LATE_MS, readResponse } from '../readResponse.js';
import { meaningOf, meaningOfReply } from './meaningOf.js';
import { failureIn } from './toldFailure.js';

export interface AnswerSink {
  /** Of answers that have not ended. */
  readonly incoming: IncomingBytes;
  readonly pipe: ClientPipe;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whose answers need no proof: those of a gateway in this process. */
  readonly trusted: boolean;
  readonly onAnswer: (text: string) => void;
}

/** Hands on what comes in the response to a request, up to the answer. Rejects when there is none. */
export async function readAnswer(
  message: RequestMessage,
  response: IncomingMessage,
  { incoming, pipe, clock, logger, trusted, onAnswer }: AnswerSink,
): Promise<void> {
  const stream = isEventStream(response);
  const idText = idTextOf(message);
  let answered = false;
  let late: Timer | undefined;
  let sent: Promise<void> | undefined;
  /** Once: the other messages of its response are none. */
  const isAnswer = (meaning: ReturnType<typeof meaningOf>, text: string): boolean => {
    const broken = stream ? undefined : failureIn(response);
    if (broken !== undefined) throw broken;
    if (meaning !== 'answer') {
      if (!stream) throw noAnswer(message.method, response, text);
      logger.debug({ method: message.method }, 'an event answers no call of its stream');
      return false;
    }
    if (answered) throw new ProtocolError('gateway', `it answered ${message.method} twice`);
    answered = true;
    late = clock.setTimer(() => response.destroy(), LATE_MS);
    return true;
  };
  const onLongReply = (bytes: Buffer, reply: RawReply): void => {
    const beginning = bytes.toString('utf8', 0, 2_048);
    if (isAnswer(meaningOfReply(bytes, reply, idText), beginning)) sent = pipe.sendLong(bytes);
  };
  try {
    await readResponse(response, incoming, {
      ...(!isReadHere(message.method) && { onLongReply }),
      onMessage: (text) => {
        const meaning = !stream && trusted ? 'answer' : meaningOf(text, idText);
        if (stream && (meaning === 'request' || meaning === 'notification')) return pipe.offer(text, meaning, response);
        if (!isAnswer(meaning, text)) return;
        try {
          onAnswer(text);
        } finally {
          pipe.send(text);
        }
      },
    });
  } catch (error) {
    const isTold = [MessageTooLargeError, ProtocolError, Refusal].some((each) => error instanceof each);
    if (isTold && !answered) throw error;
    if (!answered) throw new OutcomeUnknownError('gateway', message.method, messageOf(error), { cause: error });
    logger.debug({ error: messageOf(error) }, 'the response to a call was cut behind its answer');
  } finally {
    late?.cancel();
    await sent;
  }
  if (!answered) throw new OutcomeUnknownError('gateway', message.method, 'the response ended without an answer');
}
