/** A USB serial adapter that is plugged in, speaks, is pulled out and plugged in again, as the port layer sees it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { BytePort } from '../../serial/port/byte-port.js';
import { SerialLine } from '../../serial/port/serial-line.js';
import type { Check } from '../gpio-contract.js';

/** QEMU's `usb-serial` says that it is FTDI's. */
const usb = '0403:6001';

/** Asks whoever runs the machine for something, and resolves when it is done. */
const ask = async (what: string): Promise<void> => {
  const answers = createInterface({ input: process.stdin });
  console.log(`ask ${what}`);
  await once(answers, 'line');
  answers.close();
};

export const usbChecks = (): readonly Check[] => [
  {
    name: 'an adapter is found by its USB id whenever it is plugged in',
    run: async () => {
      let wake: () => void = () => undefined;
      let port: BytePort | undefined;
      let heard = '';
      let ups = 0;
      let downs = 0;
      const line = new SerialLine(
        { onState: () => wake() },
        { name: 'adapter', address: { usb }, retryDelayMs: () => 100 },
      );
      line.listen({
        up: (opened) => {
          port = opened;
          opened.onBytes((bytes) => {
            heard += bytes.toString();
            wake();
          });
          ups += 1;
          wake();
        },
        down: () => {
          downs += 1;
          wake();
        },
        suspended: () => undefined,
      });
      const until = async (look: () => boolean): Promise<void> => {
        while (!look()) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      };
      line.open();
      for (let time = 1; time <= 2; time += 1) {
        await ask('plug');
        await until(() => ups === time);
        heard = '';
        await port?.write(Buffer.from(`ping ${time}\n`));
        await until(() => heard.includes(`pong ${time}`));
        await ask('unplug');
        await until(() => downs === time);
      }
      assert.equal(ups, 2);
      await line.close();
    },
  },
];
