import type { Dice } from './Dice.js';
import { membersText, numberText, stringText, valueText } from './jsonText.js';

const METHODS = [
  'tools/call',
  'tools/call',
  'tools/call',
  'tools/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'prompts/list',
  'prompts/get',
  'completion/complete',
  'logging/setLevel',
  'ping',
  'tasks/list',
  'tasks/get',
  'tasks/cancel',
  'server/discover',
  'subscriptions/listen',
  'initialize',
  'no/such/method',
  '__proto__',
  'constructor',
  '',
];
const NOTIFICATIONS = [
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
  'notifications/message',
  'notifications/none',
  'tools/call',
];
const NAMES = [
  'echo',
  'regional',
  'one__echo',
  'two__echo',
  'one__regional',
  'none',
  '__proto__',
  'one__',
  '__',
  'constructor',
];
const META = 'io.modelcontextprotocol';
export const VERSION = '2026-07-28';

type Member = readonly [name: string, text: string];

export interface Message {
  readonly text: string;
  /** What headers of the modern era have to say of it. */
  readonly method: string;
  readonly name: string | undefined;
}

const idText = (dice: Dice): string =>
  dice.once(6)
    ? dice.made(
        () => numberText(dice),
        () => stringText(dice),
        () => valueText(dice, 1),
      )
    : String(1 + dice.below(1_000_000));

/** `text`, or once in a while anything else. */
const mostly = (dice: Dice, text: string, often = 12): string => (dice.once(often) ? valueText(dice, 2) : text);

function envelope(dice: Dice): string {
  const members: Member[] = [
    [`${META}/protocolVersion`, mostly(dice, JSON.stringify(VERSION), 60)],
    [`${META}/clientCapabilities`, mostly(dice, dice.of('{}', '{"sampling":{}}', '{"elicitation":{},"roots":{}}'), 40)],
  ];
  if (dice.once(3)) members.push([`${META}/clientInfo`, mostly(dice, '{"name":"f","version":"1"}', 4)]);
  if (dice.once(5)) members.push([`${META}/logLevel`, mostly(dice, '"info"', 3)]);
  if (dice.once(4))
    members.push([
      'progressToken',
      dice.made(
        () => numberText(dice),
        () => stringText(dice),
      ),
    ]);
  if (dice.once(10)) members.push([dice.of('__proto__', 'traceparent', 'x'), valueText(dice, 1)]);
  return membersText(dice, dice.once(50) ? members.slice(1) : members);
}

function paramsOf(dice: Dice, method: string, name: string, modern: boolean): string {
  const members: Member[] = [];
  if (method.startsWith('tools/call') || method === 'prompts/get') {
    members.push(['name', mostly(dice, JSON.stringify(name), 15)], ['arguments', valueText(dice)]);
  } else if (method.startsWith('resources/')) members.push(['uri', mostly(dice, '"test://one"', 4)]);
  else if (method === 'logging/setLevel') members.push(['level', mostly(dice, '"error"', 3)]);
  else if (method === 'initialize') {
    members.push(
      ['protocolVersion', mostly(dice, dice.of('"2025-11-25"', '"2024-11-05"', '"2026-07-28"', '"1"'), 4)],
      ['capabilities', mostly(dice, '{}', 3)],
      ['clientInfo', mostly(dice, '{"name":"f","version":"1"}', 3)],
    );
  } else if (method === 'subscriptions/listen') {
    members.push([
      'notifications',
      mostly(dice, '{"toolsListChanged":true,"resourceSubscriptions":["test://one"]}', 3),
    ]);
  } else if (method.startsWith('tasks/')) members.push(['taskId', mostly(dice, '"t"', 3)]);
  else if (method === 'completion/complete') {
    members.push(
      ['ref', mostly(dice, '{"type":"ref/prompt","name":"one__p"}', 3)],
      ['argument', mostly(dice, '{"name":"a","value":"b"}', 3)],
    );
  }
  if (dice.once(8))
    members.push([dice.of('cursor', 'requestState', 'inputResponses', '__proto__', 'task'), valueText(dice, 1)]);
  if (modern ? !dice.once(30) : dice.once(6)) members.push(['_meta', mostly(dice, envelope(dice), 60)]);
  return membersText(dice, members);
}

/** One message of a client, or what looks like one. */
export function message(dice: Dice, modern: boolean): Message {
  const kind = dice.below(10);
  if (kind === 0) return notification(dice);
  if (kind === 1) return answer(dice);
  const method = dice.of(...METHODS);
  const name = dice.once(6) ? dice.text(12) : dice.of(...NAMES);
  const members: Member[] = [
    ['jsonrpc', mostly(dice, '"2.0"', 60)],
    ['id', idText(dice)],
    ['method', mostly(dice, JSON.stringify(method), 60)],
  ];
  if (!dice.once(40)) members.push(['params', mostly(dice, paramsOf(dice, method, name, modern), 40)]);
  const text = membersText(dice, members);
  return {
    text,
    method,
    name: /^(tools\/call|prompts\/get)$/.test(method) ? name : method === 'resources/read' ? 'test://one' : undefined,
  };
}

function notification(dice: Dice): Message {
  const method = dice.of(...NOTIFICATIONS);
  const params = dice.made(
    () => '{}',
    () =>
      membersText(dice, [
        ['requestId', idText(dice)],
        ['reason', valueText(dice, 1)],
      ]),
    () => valueText(dice, 2),
  );
  const text = membersText(dice, [
    ['jsonrpc', '"2.0"'],
    ['method', JSON.stringify(method)],
    ['params', params],
  ]);
  return { text, method, name: undefined };
}

function answer(dice: Dice): Message {
  const outcome: Member = dice.once(2)
    ? ['result', valueText(dice, 2)]
    : ['error', mostly(dice, '{"code":-32603,"message":"no"}', 2)];
  const text = membersText(dice, [['jsonrpc', '"2.0"'], ['id', idText(dice)], outcome]);
  return { text, method: '', name: undefined };
}

/** An array of messages. */
export function batch(dice: Dice, modern: boolean): string {
  const count = dice.of(0, 1, 2, 5, 99, 100, 101, 300);
  const items = Array.from({ length: count }, () =>
    dice.once(8)
      ? valueText(dice, 1)
      : count > 10
        ? '{"jsonrpc":"2.0","id":1,"method":"ping"}'
        : message(dice, modern).text,
  );
  return `[${items.join(',')}]`;
}
