import { byId, setText, shown } from './dom.js';

let token: string | null = null;

export function setToken(given: string | null): void {
  token = given;
  document.body.dataset['actions'] = given === null ? 'off' : 'on';
  byId('try').hidden = given === null;
}

export const canAct = (): boolean => token !== null;

export interface Outcome {
  readonly result?: unknown;
  readonly error?: string;
  readonly code?: string;
}

/** Asks the gateway to act. Never rejects. */
export async function act(body: object): Promise<Outcome> {
  try {
    const response = await fetch('status/act', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-poolkit-token': token ?? '' },
      body: JSON.stringify(body),
    });
    return (await response.json()) as Outcome;
  } catch (error) {
    return { error: `the gateway did not answer: ${String(error)}` };
  }
}

/** The same, with what went wrong told. */
export async function actAndTell(body: object): Promise<void> {
  const { error } = await act(body);
  if (error !== undefined) notice(error);
}

export function confirmed(text: string): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>('confirm');
  setText(byId('confirm-text'), text);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

let hiding: ReturnType<typeof setTimeout> | undefined;

export function notice(text: string): void {
  const box = byId('notice');
  box.textContent = shown(text);
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => {
    box.hidden = true;
  }, 8_000);
}
