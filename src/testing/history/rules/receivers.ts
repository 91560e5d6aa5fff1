import { type CallIndex, rootOf } from '../CallIndex.js';
import { nameOf, ownerOf } from '../describe.js';
import type { AnswerEvent, FailureEvent, HeardEvent, InvokeEvent, ProgressEvent } from '../HistoryEvent.js';
import type { Violation } from '../Violation.js';

/** What a server sends reaches the call it was made for; else its session; else what concerns all, its principal. */
export function* receivers(index: CallIndex): Generator<Violation> {
  for (const event of index.events) {
    switch (event.type) {
      case 'answer':
      case 'failure':
      case 'progress':
        yield* ofCall(index, event);
        break;
      case 'notification':
      case 'request':
        yield* heard(index, event);
        break;
      default:
    }
  }
}

function* ofCall(index: CallIndex, event: AnswerEvent | FailureEvent | ProgressEvent): Generator<Violation> {
  const { call, of } = event;
  if (of === undefined || rootOf(of) === rootOf(call)) return;
  const [receiver, owner] = [invokeOf(index, call), invokeOf(index, of)];
  const what = { answer: 'the answer', failure: 'the error', progress: 'progress' }[event.type];
  const to = receiver === undefined ? `call ${call}` : nameOf(receiver);
  const whose = owner === undefined ? `call ${of}` : nameOf(owner);
  const events = [owner, receiver, event].filter((each) => each !== undefined);
  yield { rule: 'wrong-receiver', call, message: `${to} got ${what} of ${whose}`, events };
}

function* heard(index: CallIndex, event: HeardEvent): Generator<Violation> {
  if (event.of === undefined) return;
  const receiver = event.call === undefined ? undefined : invokeOf(index, event.call);
  const to = receiver ?? event;
  const owner = ownerIn(index, event.of, to.part);
  if (owner === undefined) return;
  const samePrincipal = owner.principal === to.principal;
  const everyone = event.type === 'notification' && event.method.endsWith('/list_changed');
  // A listener without a session is the whole pool's: it hands on what it hears, and answers for that.
  const sameSession = everyone || to.session === undefined || owner.session === to.session;
  if (samePrincipal && sameSession) return;
  const name = receiver === undefined ? ownerOf(event) || 'a listener of no principal' : nameOf(receiver);
  const events = [owner, receiver, event].filter((each) => each !== undefined);
  const message = `${name} got ${event.type} ${event.method} of ${nameOf(owner)}`;
  yield { rule: 'wrong-receiver', call: owner.call, message, events };
}

/** The call as a part made it: a gateway's pool has sessions of its own, which are not those of its clients. */
function ownerIn(index: CallIndex, of: string, part: string | undefined): InvokeEvent | undefined {
  const first = invokeOf(index, rootOf(of));
  if (first === undefined || first.part === part || part === undefined) return first;
  return index.nestedIn(rootOf(of), part);
}

function invokeOf(index: CallIndex, call: string): InvokeEvent | undefined {
  return (index.calls.get(call) ?? index.calls.get(rootOf(call)))?.invokes[0];
}
