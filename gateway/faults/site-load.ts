/** What a device does to a gateway while it is killed: everything it publishes, and what of it was acknowledged. */
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { type MqttClient, Store } from 'mqtt';
import { device, type EnrolledSite } from './enrolled-site.js';

/** What the gateway has promised, by what it must show for it. Numbers count up within each kind. */
export interface Promised {
  /** `seq` of points. */
  readonly points: Set<number>;
  /** What `reported.count` and `desired.count` were set to, which is the client token too. */
  readonly updates: Set<number>;
  /** The newest payload by topic; topics are used again. */
  readonly retained: Map<string, number>;
  /** Messages for a session that is away. */
  readonly queued: Set<number>;
}

/** What there is to compare with a disk. */
export interface Account {
  readonly promised: Promised;
  /** Tokens of answers that arrived. */
  readonly accepted: ReadonlySet<number>;
  /** How often each queued message was delivered. */
  readonly delivered: ReadonlyMap<number, number>;
}

const topicOf = {
  point: `dt/${device}/telemetry/force`,
  update: `dt/${device}/shadow/update`,
  accepted: `dt/${device}/shadow/update/accepted`,
  delta: `dt/${device}/shadow/delta`,
  retained: (at: number) => `dt/${device}/note/${at % 16}`,
  queued: `dt/${device}/for-later/x`,
} as const;

export const boot = 'boot-1';
const arrivalLimitMs = 30_000;

export class SiteLoad implements Account {
  readonly #site: Pick<EnrolledSite, 'connect'>;
  /** What the reader knows of messages of QoS 2 that are under way outlives its connections, as the specification asks of it. */
  readonly #readerStore = new Store({ clean: false });
  readonly promised: Promised = {
    points: new Set(),
    updates: new Set(),
    retained: new Map(),
    queued: new Set(),
  };
  readonly accepted = new Set<number>();
  /** Of the deltas that arrived. A device that was away gets the last alone. */
  newestDelta = -1;
  readonly delivered = new Map<number, number>();
  /** Answers that say no. */
  readonly rejected: string[] = [];
  #sender: MqttClient | undefined;
  #lanes: Promise<unknown> | undefined;
  #isStopped = false;

  constructor(site: Pick<EnrolledSite, 'connect'>) {
    this.#site = site;
  }

  get acknowledgements(): number {
    const { points, updates, queued } = this.promised;
    return points.size + updates.size + queued.size;
  }

  /** Makes the sessions; the gateway must be there. The load runs from then on, through every death of the gateway. */
  async start(): Promise<void> {
    const reader = this.#site.connect('reader');
    await reader.subscribeAsync(topicOf.queued, { qos: 2 });
    await reader.endAsync();
    const sender = this.#site.connect('sender');
    this.#sender = sender;
    sender.on('message', (topic, payload) => this.#heard(topic, payload));
    const answers = [`${topicOf.update}/accepted`, `${topicOf.update}/rejected`, topicOf.delta];
    await sender.subscribeAsync(answers, { qos: 1 });
    const { points, updates, retained, queued } = this.promised;
    this.#lanes = Promise.all([
      this.#lane(
        1,
        (at) => [topicOf.point, pointOf(2 * at)],
        (at) => points.add(2 * at),
      ),
      this.#lane(
        2,
        (at) => [topicOf.point, pointOf(2 * at + 1)],
        (at) => points.add(2 * at + 1),
      ),
      this.#lane(
        1,
        (at) => [topicOf.update, updateOf(at)],
        (at) => updates.add(at),
      ),
      this.#lane(
        2,
        (at) => [topicOf.queued, `${2 * at}`],
        (at) => queued.add(2 * at),
      ),
      this.#lane(
        1,
        (at) => [topicOf.queued, `${2 * at + 1}`],
        (at) => queued.add(2 * at + 1),
      ),
      this.#lane(
        1,
        (at) => [topicOf.retained(at), `${at}`],
        (at) => retained.set(topicOf.retained(at), at),
      ),
    ]);
    // Told by `stop`; what fails before must not end the test without it.
    this.#lanes.catch(() => undefined);
  }

  /** With a gateway that is there: the session that was away comes back and gets what it is owed, and the device its answers. */
  async collect(): Promise<void> {
    const { queued, updates } = this.promised;
    const owed = { queued: [...queued], updates: [...updates] };
    const reader = this.#site.connect('reader', { incomingStore: this.#readerStore });
    reader.on('message', (_topic, payload) => {
      const at = Number(payload.toString());
      this.delivered.set(at, (this.delivered.get(at) ?? 0) + 1);
    });
    const missing = (): string[] => [
      ...owed.queued.filter((at) => !this.delivered.has(at)).map((at) => `queued ${at}`),
      ...owed.updates.filter((at) => !this.accepted.has(at)).map((at) => `accepted ${at}`),
      ...owed.updates.filter((at) => at > this.newestDelta).map((at) => `delta ${at} or later`),
    ];
    const isThere = (): boolean => missing().length === 0;
    try {
      await waitUntil('what is owed', isThere, { deadlineMs: arrivalLimitMs, everyMs: 50 });
    } catch (cause) {
      const link = this.#sender?.connected === true ? 'connected' : 'away';
      throw new Error(
        `never arrived: ${missing().slice(0, 20).join(', ')}; the device is ${link}`,
        { cause },
      );
    } finally {
      await reader.endAsync();
    }
  }

  /** Ends the load when all that is owed has arrived; the gateway must be there for it. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#lanes;
    await this.collect();
    await this.#sender?.endAsync();
  }

  /** Ends it with nobody there. */
  abandon(): void {
    this.#isStopped = true;
    this.#sender?.end(true);
  }

  async #lane(
    qos: 1 | 2,
    message: (at: number) => readonly [topic: string, payload: string],
    acknowledged: (at: number) => void,
  ): Promise<void> {
    const sender = this.#sender;
    for (let at = 0; sender !== undefined && !this.#isStopped; at += 1) {
      const [topic, payload] = message(at);
      const retain = topic === topicOf.retained(at);
      while (!(await this.#isSent(sender, topic, payload, { qos, retain })));
      acknowledged(at);
    }
  }

  async #isSent(
    sender: MqttClient,
    ...message: Parameters<MqttClient['publishAsync']>
  ): Promise<boolean> {
    try {
      await sender.publishAsync(...message);
      return true;
    } catch (error) {
      // The client refuses what it was given while it resends over a connection that breaks; it has not sent it.
      const isUnsent = error instanceof Error && error.message === 'Connection closed';
      if (!isUnsent || this.#isStopped) throw error;
      if (!sender.connected) await new Promise<void>((go) => sender.once('connect', () => go()));
      return false;
    }
  }

  #heard(topic: string, payload: Buffer): void {
    const text = payload.toString();
    const { clientToken, state } = JSON.parse(text);
    if (topic === topicOf.accepted) this.accepted.add(Number(clientToken));
    else if (topic === topicOf.delta)
      this.newestDelta = Math.max(this.newestDelta, countOf('desired', state.count));
    else this.rejected.push(text);
  }
}

const pointOf = (seq: number): string => JSON.stringify({ value: seq / 8, boot, seq });

/** `desired` is never what is reported, so that each update has a delta to tell. */
const updateOf = (count: number): string =>
  JSON.stringify({
    state: { reported: { count }, desired: { count: -1 - count } },
    clientToken: `${count}`,
  });

/** Which update a leaf comes from. */
export const countOf = (section: string, value: number): number =>
  section === 'desired' ? -1 - value : value;
