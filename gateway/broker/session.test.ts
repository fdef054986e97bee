/** What a session owes a client that comes back, while its queue is read from disk, or that takes in more slowly than it is given. */
import t from 'tap';
import { defaultLimits } from './broker-limits.js';
import type { Message } from './message.js';
import type { Outgoing } from './outgoing-queue.js';
import { OutgoingQueue } from './outgoing-queue.js';
import type { PublishFields } from './publish-packet.js';
import { type Outlet, Session, type SessionHost } from './session.js';

const payload = (text: string): Buffer => Buffer.from(text);

class TestOutlet implements Outlet {
  readonly sent: string[] = [];
  isCongested = false;
  cutFor: string | undefined;
  /** After so many it takes no more until it is told to. */
  readonly #room: number;

  constructor(room = Number.POSITIVE_INFINITY) {
    this.#room = room;
  }

  receiveMaximum = 65_535;

  publish({ payload: content }: PublishFields): boolean {
    if (this.isCongested) this.cutFor = 'SUBSCRIBER_SLOW';
    this.sent.push(Buffer.from(content).toString());
    if (this.sent.length % this.#room === 0) this.isCongested = true;
    return true;
  }

  publishOnce(message: Message): boolean {
    return this.publish({ ...message, dup: false });
  }

  release(): void {
    this.sent.push('');
  }

  mayReceive(): boolean {
    return true;
  }

  cut(reason: string): void {
    this.cutFor = reason;
  }
}

const openSession = (count: number) => {
  const stored = new Map<number, Message>();
  let loading: { seqs: number[]; done: (error?: Error) => void } | undefined;
  const host: SessionHost = {
    now: () => 0,
    load: (outgoing) =>
      new Promise((resolve, reject) => {
        loading = {
          seqs: outgoing.map(({ seq }) => seq),
          done: (error) => {
            loading = undefined;
            for (const one of outgoing) one.message = stored.get(one.seq);
            if (error === undefined) resolve();
            else reject(error);
          },
        };
      }),
    done: () => undefined,
    dropped: () => undefined,
  };
  const session = new Session(
    host,
    { clientId: 'a', device: null, isPersistent: true, key: 1 },
    defaultLimits.serviceSession,
  );
  for (let seq = 1; seq <= count; seq += 1) {
    const message: Message = { topic: 't', payload: payload(`${seq}`), qos: 1, retain: false };
    stored.set(seq, message);
    const outgoing: Outgoing = {
      ...{ seq, qos: 1, size: 10, packetId: session.queue.reservePacketId() },
      ...{ isSent: false, isReleased: false, message },
    };
    session.deliver(outgoing);
  }
  const settled = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    session,
    loading: () => loading,
    loaded: async (error?: Error): Promise<void> => {
      loading?.done(error);
      await settled();
    },
  };
};

t.test(
  'a client that comes back while its queue is read gets what was in flight, too',
  async (t) => {
    const { session, loaded, loading } = openSession(200);
    const first = new TestOutlet();
    session.attach(first);
    await loaded();
    t.equal(first.sent.length, 64, 'a page is in flight');
    t.ok(loading(), 'and the next is being read');
    session.detach(first);
    const second = new TestOutlet();
    session.attach(second);
    while (loading() !== undefined) await loaded();
    t.equal(second.sent.length, 128, 'the whole window');
    t.same(
      second.sent.slice(0, 64),
      Array.from({ length: 64 }, (_, at) => `${at + 1}`),
      'what was in flight first',
    );
  },
);

t.test(
  'a client that came while its queue could not be read is cut, not left waiting',
  async (t) => {
    const { session, loaded } = openSession(10);
    const first = new TestOutlet();
    session.attach(first);
    session.detach(first);
    const second = new TestOutlet();
    session.attach(second);
    await loaded(new Error('the disk is gone'));
    t.ok(second.cutFor);
  },
);

t.test('what is sent again waits for a slow client as what is new does', async (t) => {
  const { session, loaded, loading } = openSession(100);
  const first = new TestOutlet();
  session.attach(first);
  while (loading() !== undefined) await loaded();
  t.equal(first.sent.length, 100);
  session.detach(first);
  const slow = new TestOutlet(10);
  session.attach(slow);
  while (loading() !== undefined) await loaded();
  t.equal(slow.sent.length, 10, 'as much as it takes');
  for (let round = 0; round < 20 && slow.sent.length < 100; round += 1) {
    slow.isCongested = false;
    session.pump();
    while (loading() !== undefined) await loaded();
  }
  t.equal(slow.cutFor, undefined);
  t.same(
    slow.sent,
    Array.from({ length: 100 }, (_, at) => `${at + 1}`),
  );
});

t.test('when every packet id is taken, that is said and nothing hangs', async (t) => {
  const queue = new OutgoingQueue({ maxMessages: 10, maxBytes: 10 });
  for (let at = 0; at < 65_535; at += 1) queue.reservePacketId();
  t.throws(() => queue.reservePacketId(), { code: 'STORE_OVERLOADED' });
  queue.forgetPacketId(7);
  t.equal(queue.reservePacketId(), 7);
});
