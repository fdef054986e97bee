import type { LoaderProtocol } from '@holdfast/devices/serial/flash/loader-protocol';
import { PortPair } from '@holdfast/devices/serial/port/port-pair';
import { usualSettings } from '@holdfast/devices/serial/port/port-settings';
import { partNamed } from '@holdfast/provisioning/firmware/flash/parts';
import t from 'tap';
import { next } from './flash-machine.js';
import { FlashReports } from './flash-reports.js';
import { type FlashSessionDeps, flashSession } from './flash-session.js';
import type { FlashEvent, FlashState } from './flash-state.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const image = { model: 'pump', version: '2.0.0', sha256: 'a', sizeBytes: 100 };
const part = partNamed('stk500v1', 'atmega328p');

t.test('begins nothing for an execution that is another by now', async (t) => {
  const told: string[] = [];
  const loader: LoaderProtocol = {
    name: 'stk500v1',
    open: async () => ({
      identify: async () => ({ loader: 'a test' }),
      transfer: async () => {
        told.push('written');
        return { writtenBytes: 100, keptBytes: 0 };
      },
      leave: async () => void told.push('left'),
      close: () => undefined,
    }),
  };
  const pair = new PortPair();
  const port = await pair.openPort('/dev/ttyTest', usualSettings);
  const executions = {
    executionOf: async () => undefined,
    report: async () => t.fail('nobody is to be told') as never,
  };
  const deps: FlashSessionDeps = {
    line: { takeOver: async (work, { signal }) => work(port, signal, () => undefined) },
    reports: new FlashReports({ executions, log }, 'pump-1'),
    images: { read: async () => ({ bytes: Buffer.alloc(100) }) } as never,
    ...{ loader, reset: async () => undefined, running: () => null, forbidden: () => undefined },
  };
  let state: FlashState = {
    flash: {
      ...{ phase: 'waiting', run: { kind: 'job', job: 'c', offer: 1 }, image, damage: null },
    },
    running: null,
  };
  const apply = async (event: FlashEvent) => {
    state = next(state, event);
    return state;
  };
  const { signal } = new AbortController();
  const options = { part, baudRate: 115_200, signal, onProgress: () => undefined };
  await t.rejects(flashSession(deps, { state: () => state, apply }, options), {
    code: 'RESOURCE_CONFLICT',
  });
  t.same(told, ['left']);
  t.equal(state.flash.phase, 'waiting');
});
