import { Readable } from 'node:stream';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { aborted } from '@holdfast/provisioning/time/wait';
import t from 'tap';
import { collect } from '../../context.js';
import { type FollowEvent, followShadow, type OpenWatch } from './follow-shadow.js';
import type { WatchEvent } from './shadow-source.js';

const change = (position: number): WatchEvent => ({
  kind: 'change',
  change: {
    position: String(position),
    device: 'pump-1',
    shadow: '-',
    version: position,
    time: new Date(0),
    trusted: true,
    writer: 'cloud',
    write_time: undefined,
    deleted: false,
    changes: [],
  },
});
const began: WatchEvent = { kind: 'watching', position: '4', version: 4 };
const noWait = { wait: async () => undefined };

/** Connections one after the other; the last ends everything. */
const connections =
  (
    stop: AbortController,
    asked: (string | undefined)[],
    ...all: (() => AsyncIterable<WatchEvent>)[]
  ): OpenWatch =>
  (after) => {
    asked.push(after);
    const next = all.shift();
    if (next !== undefined) return next();
    stop.abort();
    return none();
  };
const none = (): AsyncIterable<WatchEvent> => Readable.from([]);

const kinds = (events: readonly FollowEvent[]) => events.map(({ kind }) => kind);

t.test('goes on after a break from the last that it saw', async (t) => {
  const stop = new AbortController();
  const asked: (string | undefined)[] = [];
  const open = connections(
    stop,
    asked,
    async function* () {
      yield began;
      yield change(5);
      yield change(6);
      throw new Error('reset');
    },
    () => {
      throw new HoldfastError('CONNECTION_FAILED', 'nobody there');
    },
    async function* () {
      yield change(7);
      yield { kind: 'alive' };
      yield { kind: 'missed', position: '9', afterVersion: 7, toVersion: 9 };
    },
  );
  const events = await collect(followShadow(open, stop.signal, noWait));
  t.same(asked, [undefined, '6', '6', '9']);
  t.same(kinds(events), [
    ...['watching', 'change', 'change', 'lost', 'lost', 'change', 'alive', 'missed', 'lost'],
  ]);
  t.match(events[3], { reason: 'reset' });
});

t.test(
  'gives up where the first connection fails, and where there is nothing to watch',
  async (t) => {
    const stop = new AbortController();
    const failing =
      (code: 'CONNECTION_FAILED' | 'RESOURCE_NOT_FOUND'): (() => AsyncIterable<WatchEvent>) =>
      () => {
        throw new HoldfastError(code, 'no');
      };
    const first = connections(stop, [], failing('CONNECTION_FAILED'));
    await t.rejects(collect(followShadow(first, stop.signal, noWait)), {
      code: 'CONNECTION_FAILED',
    });
    const later = connections(
      stop,
      [],
      async function* () {
        yield began;
      },
      failing('RESOURCE_NOT_FOUND'),
    );
    await t.rejects(collect(followShadow(later, stop.signal, noWait)), {
      code: 'RESOURCE_NOT_FOUND',
    });
  },
);

t.test('takes a connection on which nothing comes for dead', async (t) => {
  const stop = new AbortController();
  const asked: (string | undefined)[] = [];
  const open: OpenWatch = async function* (after, signal) {
    asked.push(after);
    if (asked.length > 1) return stop.abort();
    yield began;
    await aborted(signal);
    throw signal.reason;
  };
  const events = await collect(followShadow(open, stop.signal, { ...noWait, silenceMs: 5 }));
  t.same(kinds(events), ['watching', 'lost']);
  t.match(events[1], { reason: 'nothing comes any more' });
  t.same(asked, [undefined, '4']);
});
