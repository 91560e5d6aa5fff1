import type { OpenCall } from '../../src/gateway/status/StatusData.js';
import { actAndTell } from './actions.js';
import { button, byId, duration, element, setText } from './dom.js';

interface Row {
  readonly tr: HTMLTableRowElement;
  readonly where: HTMLElement;
  readonly age: HTMLElement;
}

const rows = new Map<string, Row>();

export function showOpen(open: readonly OpenCall[], more: number): void {
  const body = byId('open').querySelector('tbody') as HTMLElement;
  const ids = new Set(open.map(({ id }) => id));
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    row.tr.remove();
    rows.delete(id);
  }
  for (const call of open) {
    let row = rows.get(call.id);
    if (row === undefined) {
      row = makeRow(call);
      rows.set(call.id, row);
      body.append(row.tr);
    }
    setText(row.where, whereIs(call));
    setText(row.age, duration(call.ageMs));
    row.age.classList.toggle('alarm', call.ageMs > 30_000);
  }
  byId('open').hidden = open.length === 0;
  const empty = byId('open-empty');
  setText(empty, open.length === 0 ? 'Nothing is in flight.' : `and ${more} more`);
  empty.hidden = open.length > 0 && more === 0;
}

function whereIs({ at }: OpenCall): string {
  if (at.length === 0) return 'in the gateway';
  return at
    .map(
      ({ server, sent, attempt }) =>
        `${server}: ${sent ? (attempt > 1 ? `sent, attempt ${attempt}` : 'sent') : 'waiting'}`,
    )
    .join(', ');
}

function makeRow({ id, method, target }: OpenCall): Row {
  const tr = element('tr');
  const what = element('td', 'what', target === null ? method : `${method} ${target}`);
  const where = element('td', 'what');
  where.dataset['label'] = 'Where';
  const age = element('td', 'n');
  age.dataset['label'] = 'Age';
  const act = element('td', 'act');
  act.append(
    button('Cancel', `Cancel ${method} ${target ?? ''}`, () => void actAndTell({ action: 'cancel', id }), 'danger'),
  );
  tr.append(what, where, age, act);
  return { tr, where, age };
}
