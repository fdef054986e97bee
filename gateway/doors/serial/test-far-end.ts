/** The device's end of a serial line in a test's own hands. */
import {
  type DownFrame,
  encodeFrame,
  parseDownFrame,
  type UpFrame,
} from '@holdfast/devices/serial/frames';
import { openPseudoTerminal } from '@holdfast/devices/serial/pseudo-terminal';
import type { Test } from 'tap';

const defaultHello = {
  t: 'hello',
  id: 'pump-1',
  model: 'serial-simulated',
  version: '1.0.0',
  boot: 'b1',
} as const;

export const farEnd = async (t: Test, link: string) => {
  const line = await openPseudoTerminal({ link });
  t.teardown(() => line.close());
  const received: string[] = [];
  const frames: DownFrame[] = [];
  let rest = '';
  let wake: () => void = () => undefined;
  line.onData((chunk) => {
    const parts = (rest + chunk.toString()).split('\n');
    rest = parts.pop() ?? '';
    received.push(...parts);
    frames.push(...parts.flatMap((text) => parseDownFrame(text)?.frame ?? []));
    wake();
  });
  const next = async (kind: string) => {
    for (;;) {
      const text = received.shift();
      const frame = text === undefined ? undefined : parseDownFrame(text)?.frame;
      if (frame?.t === kind) return frame;
      if (text === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  };
  const say = (frame: UpFrame) => line.write(encodeFrame(frame, false));
  let isAsked = false;
  const sayHello = (other: object = {}) => say({ ...defaultHello, ...other });
  return {
    next,
    say,
    sayHello,
    /** Whatever it is. */
    raw: line.write,
    close: line.close,
    hello: async (other: object = {}) => {
      // What is said before the port is open is lost.
      if (!isAsked) await next('who');
      isAsked = true;
      sayHello(other);
      await next('welcome');
    },
    /** How many such frames came so far, whoever waited for them. */
    count: (isIt: (frame: DownFrame) => boolean) => frames.filter(isIt).length,
  };
};
