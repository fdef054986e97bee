import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import t from 'tap';
import { PortPair } from '../port/port-pair.js';
import { knock } from './knock.js';
import type { Loader, LoaderProtocol } from './loader-protocol.js';

const part = partNamed('mcuboot-smp', 'board');
const signal = AbortSignal.timeout(10_000);
const answering: Loader = {
  identify: async () => ({ loader: 'test' }),
  transfer: async () => ({ writtenBytes: 0, keptBytes: 0 }),
  leave: async () => undefined,
  close: () => undefined,
};

/** Answers at the n-th knock. */
const loaderAt = (answersAt: number, log: string[]): LoaderProtocol => {
  let knocks = 0;
  return {
    name: 'mcuboot-smp',
    open: async () => {
      log.push('knock');
      knocks += 1;
      if (knocks === answersAt) return answering;
      throw new HoldfastError('FLASH_NO_BOOT_LOADER', 'silent');
    },
  };
};

const find = (answersAt: number, { isSpoken = false, attempts = 5 } = {}) => {
  const log: string[] = [];
  const attemptsSeen: unknown[] = [];
  const reset = Object.assign(
    async (_port: unknown, _signal: unknown, attempt?: number) => {
      attemptsSeen.push(attempt);
    },
    { isSpoken },
  );
  const found = knock(
    { port: new PortPair().open(), reset },
    { loader: loaderAt(answersAt, log), part },
    { signal, attempts, onReset: () => log.push('reset') },
  );
  return { log, found, attemptsSeen };
};

t.test('resets before each knock', async (t) => {
  const { log, found, attemptsSeen } = find(2);
  t.equal(await found, answering);
  t.same(attemptsSeen, [1, 2]);
  t.same(log, ['reset', 'knock', 'reset', 'knock']);
});

t.test('looks for a loader before it speaks to an application', async (t) => {
  const listening = find(1, { isSpoken: true });
  await listening.found;
  t.same(listening.log, ['knock']);
  const running = find(2, { isSpoken: true });
  await running.found;
  t.same(running.log, ['knock', 'reset', 'knock']);
});

t.test('knocks as long as it is told to', async (t) => {
  const { log, found } = find(99, { attempts: 3 });
  await t.rejects(found, { code: 'FLASH_NO_BOOT_LOADER' });
  t.equal(log.filter((entry) => entry === 'knock').length, 3);
  const patient = find(6, { attempts: Number.POSITIVE_INFINITY });
  t.equal(await patient.found, answering);
});
