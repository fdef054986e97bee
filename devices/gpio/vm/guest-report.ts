/** What `guest.ts` says, told to a test as it comes. */

import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Test } from 'tap';

export interface GuestReportOptions {
  /** What the guest asks for; resolves when it is done. */
  readonly asked?: (what: string) => Promise<void>;
}

/** Resolves with whether it got to its end. */
export const reportGuest = async (
  t: Test,
  output: Readable,
  { asked = async () => undefined }: GuestReportOptions = {},
): Promise<boolean> => {
  const others: string[] = [];
  for await (const line of createInterface({ input: output })) {
    const text = line.replaceAll('\r', '').trimEnd();
    if (text === 'done') return true;
    if (text.startsWith('ok ')) t.pass(text.slice(3));
    else if (text.startsWith('not ok ')) t.fail(text.slice(7));
    else if (text.startsWith('ask ')) await asked(text.slice(4));
    else others.push(text);
  }
  t.comment(others.slice(-40).join('\n'));
  return false;
};
