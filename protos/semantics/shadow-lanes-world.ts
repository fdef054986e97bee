/**
 * Runs of a shadow with two ends and a lane each way: writes, deletions, what comes again, a site that begins anew, a control plane that is
 * restored. What was acknowledged on the way is kept, for the laws to look at. For tests.
 */
import fc from 'fast-check';
import { compareTimes, type HybridTime } from './hybrid-clock.js';
import type { CloudEnd, EndContext, EndOutcome, LaneEntry, ShadowEnd } from './shadow-end.js';
import { idOf, type ShadowOperation, type ShadowState } from './shadow-merge.js';

const paths = [
  ['desired', 'a'],
  ['desired', 'a', 'x'],
  ['desired', 'a', 'y'],
  ['desired', 'b'],
  ['reported', 'a'],
  ['reported', 'a', 'x'],
];

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      at: fc.constantFrom('cloud' as const, 'site' as const),
      path: fc.nat(paths.length - 1),
      deletes: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('remove' as const),
      at: fc.constantFrom('cloud' as const, 'site' as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      to: fc.constantFrom('cloud' as const, 'site' as const),
      /** The connection broke before it was acknowledged: so much is sent again. */
      again: fc.nat(2),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'hand_over' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('rebuild' as const), survives: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'back_up' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'restore' as const }) },
);

export const run = fc.record({
  steps: fc.array(step, { maxLength: 40, size: 'max' }),
  skewsMs: fc.record({
    cloud: fc.constantFrom(0, -1e9, 1e9),
    site: fc.constantFrom<number[]>(0, -5, -1e9, 1e9),
  }),
  /** The control plane's clock always is. */
  isSiteTrusted: fc.boolean(),
});
export type Run = typeof run extends fc.Arbitrary<infer R> ? R : never;

export interface Acknowledged {
  readonly operation: ShadowOperation;
  /** Ids of all that its replica had had by then. */
  readonly knew: ReadonlySet<string>;
  readonly turn: number;
  /** When its replica began. */
  readonly since: number;
}

interface Node<S> {
  shadow: S;
  readonly replica: string;
  readonly since: number;
  knew: Set<string>;
  seen: HybridTime;
}

interface Lane {
  entries: { readonly entry: LaneEntry; readonly knew: ReadonlySet<string> }[];
  /** How many of them are merged: the receiver skips those that come again. */
  received: number;
}

/** What a control plane was, to be restored. */
interface Backup<C> {
  readonly cloud: Node<C>;
  readonly received: number;
  readonly kept: Lane['entries'];
}

export class World<C, S> {
  readonly written: Acknowledged[] = [];
  /** Of a gateway that was replaced: it acknowledged no deletion, and nobody waits for it for ever. */
  readonly handedOver = new Set<string>();
  readonly #cloudEnd: CloudEnd<C>;
  readonly #siteEnd: ShadowEnd<S>;
  readonly #run: Omit<Run, 'steps'>;
  readonly cloud: Node<C>;
  site: Node<S>;
  #up: Lane = { entries: [], received: 0 };
  #down: Lane = { entries: [], received: 0 };
  /** What gateways before this one still hand over, in their order. */
  #kept: Lane['entries'] = [];
  #turn = 0;
  #backup: Backup<C> | undefined;
  /** Before a restore: a deletion that came after the backup may be undone by it, at both ends alike. */
  readonly undone = new Set<string>();
  /** From a restore until the site has told everything: how much of its lane came before that. */
  #mendedAfter: number | undefined;

  constructor(cloud: CloudEnd<C>, site: ShadowEnd<S>, settings: Omit<Run, 'steps'>) {
    this.#cloudEnd = cloud;
    this.#siteEnd = site;
    this.#run = settings;
    this.cloud = nodeOf(cloud, 'cloud', 0);
    this.site = nodeOf(site, 'site', 0);
  }

  step(action: Run['steps'][number]): void {
    this.#turn += 1;
    switch (action.do) {
      case 'write': {
        const path = paths[action.path] ?? [];
        const value = action.deletes ? null : this.#turn;
        if (action.at === 'site')
          this.#change(this.site, this.#siteEnd, 'site', (end, s, c) =>
            end.write(s, path, value, c),
          );
        else if (path[0] === 'desired') {
          this.#change(this.cloud, this.#cloudEnd, 'cloud', (end, s, c) =>
            end.write(s, path, value, c),
          );
        }
        break;
      }
      case 'remove':
        if (action.at === 'site')
          this.#change(this.site, this.#siteEnd, 'site', (end, s, c) => end.remove(s, c));
        else this.#change(this.cloud, this.#cloudEnd, 'cloud', (end, s, c) => end.remove(s, c));
        break;
      case 'deliver':
        if (action.to === 'cloud') this.#deliverUp(action.again);
        else this.#deliverDown(action.again);
        break;
      case 'hand_over':
        this.#handOver();
        break;
      case 'rebuild':
        this.#rebuild(action.survives);
        break;
      case 'back_up':
        if (this.#mendedAfter !== undefined) break;
        this.#backup = {
          cloud: { ...this.cloud, knew: new Set(this.cloud.knew) },
          ...{ received: this.#up.received, kept: [...this.#kept] },
        };
        break;
      case 'restore':
        this.#restore();
        break;
    }
  }

  /** Everything that is under way arrives. */
  settle(): void {
    while (this.#deliverUp(0) || this.#deliverDown(0) || this.#handOver());
  }

  /** A write of each end at a path, by whoever knows all there is. */
  writeLast(at: 'cloud' | 'site', path: readonly string[], value: number): void {
    this.#turn += 1;
    if (at === 'site')
      this.#change(this.site, this.#siteEnd, at, (end, s, c) => end.write(s, path, value, c));
    else this.#change(this.cloud, this.#cloudEnd, at, (end, s, c) => end.write(s, path, value, c));
  }

  states(): { readonly cloud: ShadowState; readonly site: ShadowState } {
    return {
      cloud: this.#cloudEnd.stateOf(this.cloud.shadow),
      site: this.#siteEnd.stateOf(this.site.shadow),
    };
  }

  #change<E extends ShadowEnd<X>, X>(
    node: Node<X>,
    end: E,
    at: 'cloud' | 'site',
    decide: (end: E, before: X, context: EndContext) => EndOutcome<X> | undefined,
  ): void {
    const outcome = decide(end, node.shadow, this.#contextOf(node, at));
    if (outcome === undefined) return;
    for (const operation of outcome.told?.operations ?? []) {
      this.written.push({
        ...{ operation, knew: new Set(node.knew) },
        ...{ turn: this.#turn, since: node.since },
      });
    }
    for (const { operation } of this.written.slice(
      -(outcome.told?.operations.length ?? 0) || this.written.length,
    )) {
      node.knew.add(idOf(operation));
    }
    this.#commit(node, end, at, outcome);
  }

  #commit<X>(node: Node<X>, end: ShadowEnd<X>, at: 'cloud' | 'site', outcome: EndOutcome<X>): void {
    node.shadow = outcome.shadow;
    node.seen = laterOfTwo(node.seen, end.timeOf(outcome.shadow));
    if (outcome.told === undefined) return;
    const lane = at === 'cloud' ? this.#down : this.#up;
    lane.entries.push({ entry: outcome.told, knew: new Set(node.knew) });
  }

  #contextOf(node: Node<unknown>, at: 'cloud' | 'site'): EndContext {
    const now = 1e12 + this.#turn + this.#run.skewsMs[at];
    const trusted = at === 'cloud' || this.#run.isSiteTrusted;
    return { replica: node.replica, seen: node.seen, clock: { now, trusted } };
  }

  #deliverUp(again: number): boolean {
    const next = this.#next(this.#up, again, this.cloud);
    if (next === undefined) return false;
    if (next.isEverything && this.#up.received > (this.#mendedAfter ?? 0)) {
      this.#mendedAfter = undefined;
    }
    const context = this.#contextOf(this.cloud, 'cloud');
    this.#commit(
      this.cloud,
      this.#cloudEnd,
      'cloud',
      this.#cloudEnd.receive(this.cloud.shadow, next, context),
    );
    return true;
  }

  #deliverDown(again: number): boolean {
    const next = this.#next(this.#down, again, this.site);
    if (next === undefined) return false;
    if (next.isResupplied) {
      const entry = this.#siteEnd.everything(this.site.shadow, this.site.replica);
      this.#up.entries.push({ entry, knew: new Set(this.site.knew) });
      return true;
    }
    const context = this.#contextOf(this.site, 'site');
    this.#commit(
      this.site,
      this.#siteEnd,
      'site',
      this.#siteEnd.receive(this.site.shadow, next, context),
    );
    return true;
  }

  /** The sender begins anew some entries before; by their numbers the receiver skips them. */
  #next(lane: Lane, again: number, to: Node<unknown>): LaneEntry | undefined {
    for (let at = Math.max(0, lane.received - again); at < lane.entries.length; at += 1) {
      const sent = lane.entries[at];
      if (at < lane.received || sent === undefined) continue;
      lane.received = at + 1;
      for (const id of sent.knew) to.knew.add(id);
      return sent.entry;
    }
    return undefined;
  }

  #handOver(): boolean {
    const next = this.#kept.shift();
    if (next === undefined) return false;
    for (const id of next.knew) this.cloud.knew.add(id);
    for (const operation of next.entry.operations) this.handedOver.add(idOf(operation));
    const context = this.#contextOf(this.cloud, 'cloud');
    this.#commit(
      this.cloud,
      this.#cloudEnd,
      'cloud',
      this.#cloudEnd.receiveHandedOver(this.cloud.shadow, next.entry, context),
    );
    return true;
  }

  /** Another gateway, or this one with a new database: it has nothing, and what the last had not sent is lost with it or comes later. */
  #rebuild(survives: boolean): void {
    // Lost at both ends is what a restored control plane did not hear again before its site was lost: nothing to say of it.
    if (this.#mendedAfter !== undefined) return;
    const unsent = this.#up.entries.slice(this.#up.received);
    if (survives) this.#kept.push(...unsent);
    const kept = new Set(this.#kept.flatMap(({ entry }) => entry.operations.map(idOf)));
    const rest = this.written.filter(({ operation }) => {
      const id = idOf(operation);
      return this.cloud.knew.has(id) || kept.has(id);
    });
    this.written.splice(0, this.written.length, ...rest);
    this.#up = { entries: [], received: 0 };
    // The gateway that has the site since is not known to a control plane from before: it enrols anew.
    this.#backup = undefined;
    this.site = nodeOf(this.#siteEnd, 'site', this.#turn);
    const entry = this.#cloudEnd.everything(this.cloud.shadow, this.cloud.replica);
    // In place of what was under way: all of that is in it.
    this.#down = { entries: [{ entry, knew: new Set(this.cloud.knew) }], received: 0 };
  }

  /** The control plane is what it was; what it wrote since and the site does not have is lost. The site's lane goes on from there. */
  #restore(): void {
    const backup = this.#backup;
    // Once, and not while an older gateway hands over.
    if (backup === undefined || backup.kept.length > 0) return;
    this.#backup = undefined;
    const rest = this.written.filter(({ operation }) => {
      const id = idOf(operation);
      const isCloud = operation.stamp.replica === this.cloud.replica;
      return !isCloud || this.site.knew.has(id) || backup.cloud.knew.has(id);
    });
    this.written.splice(0, this.written.length, ...rest);
    for (const { operation } of rest) {
      if (operation.value === undefined) this.undone.add(idOf(operation));
    }
    const { shadow, seen, knew } = backup.cloud;
    Object.assign(this.cloud, { shadow, seen, knew: new Set(knew) });
    this.#mendedAfter = this.#up.entries.length;
    this.#kept = [...backup.kept];
    this.#up.received = backup.received;
    const marker: LaneEntry = { operations: [], dead: [], isDeletion: false, isResupplied: true };
    const entries = [this.#cloudEnd.everything(shadow, this.cloud.replica), marker];
    this.#down = {
      entries: entries.map((entry) => ({ entry, knew: new Set(knew) })),
      received: 0,
    };
  }
}

const nodeOf = <X>(end: ShadowEnd<X>, name: string, since: number): Node<X> => ({
  shadow: end.nothing,
  replica: `${name}-${since}`,
  since,
  knew: new Set(),
  seen: { wall: 0, counter: 0 },
});

const laterOfTwo = (a: HybridTime, b: HybridTime): HybridTime => (compareTimes(a, b) >= 0 ? a : b);
