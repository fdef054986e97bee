/** What a bad line does to frames, from a seed: each stream ends in two whole frames, of which the last has to be taken. */
import { encodeFrame } from './frames.js';

export interface DamagedStream {
  readonly seed: number;
  readonly bytes: Buffer;
  /** How it arrives. */
  readonly chunks: readonly Buffer[];
  /** The JSON of every frame that was sent into it. */
  readonly sent: ReadonlySet<string>;
  /** The last frames. The first of them is lost where noise stands in its line. */
  readonly last: readonly [string, string];
  readonly isLastLineClean: boolean;
}

export type Random = (below: number) => number;

/** mulberry32: the same numbers for the same seed, everywhere. */
export const randomOf = (seed: number): Random => {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
};

export const damagedStream = (seed: number): DamagedStream => {
  const random = randomOf(seed);
  const frames = Array.from({ length: 2 + random(5) }, (_, index) => frameOf(random, index));
  let bytes: Buffer = Buffer.concat(frames.map((json) => Buffer.from(lineOf(json))));
  for (let times = random(6); times > 0; times -= 1) {
    const damage = damages[random(damages.length)];
    if (damage !== undefined) bytes = damage(bytes, random);
  }
  const last = [frameOf(random, 100), frameOf(random, 101)] as const;
  const whole = Buffer.concat([bytes, ...last.map((json) => Buffer.from(lineOf(json)))]);
  return {
    seed,
    bytes: whole,
    chunks: cut(whole, random),
    sent: new Set([...frames, ...last]),
    last,
    isLastLineClean: bytes.length === 0 || bytes.at(-1) === newline,
  };
};

const newline = 0x0a;
const protocolBytes = '{}[]":,*\\ \r\n\0tackdelta0123456789ABCDEF';

const frameOf = (random: Random, index: number): string => {
  const version = random(1_000_000) * 128 + index;
  const frames = [
    { t: 'delta', state: { a: random(100_000) / 10, b: { c: [random(9), { d: null }] } }, version },
    { t: 'delta', state: { a: 'Höhe "5" \\ \u0001\u20ac😀' }, version },
    { t: 'ack', seq: version },
    {
      ...{ t: 'command', command_id: `c${String(version)}`, type: 'restart' },
      ...{ payload: { deep: { value: 'x'.repeat(random(20)) } }, expires_at: 1_800_000_000_000 },
    },
    { t: 'desired', state: { a: random(2) === 0 }, version },
  ];
  return JSON.stringify(frames[random(frames.length)]);
};

/** By the very function that both ends send with; frames are taken as they were written. */
const lineOf = (json: string): string => encodeFrame(JSON.parse(json), 32);

type Damage = (bytes: Buffer, random: Random) => Buffer;

const splice = (bytes: Buffer, at: number, remove: number, insert: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);

const noise = (random: Random, length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => random(256)));

const damages: readonly Damage[] = [
  // Garbage between and inside of frames.
  (bytes, random) => splice(bytes, random(bytes.length + 1), 0, noise(random, 1 + random(60))),
  // What looks like frames.
  (bytes, random) =>
    splice(
      ...([bytes, random(bytes.length + 1), 0] as const),
      Buffer.from(
        Array.from({ length: 1 + random(40) }, () =>
          protocolBytes.charCodeAt(random(protocolBytes.length)),
        ),
      ),
    ),
  // Flipped bits.
  (bytes, random) => {
    const flipped = Buffer.from(bytes);
    for (let times = 1 + random(8); times > 0 && flipped.length > 0; times -= 1) {
      const at = random(flipped.length);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << random(8));
    }
    return flipped;
  },
  // A receiver that was too slow: bytes are missing.
  (bytes, random) => splice(bytes, random(bytes.length + 1), 1 + random(40), Buffer.alloc(0)),
  // A newline is missing: two lines are one.
  (bytes, random) => {
    const at = bytes.indexOf(newline, random(bytes.length + 1));
    return at === -1 ? bytes : splice(bytes, at, 1, Buffer.alloc(0));
  },
  // Newlines where there were none.
  (bytes, random) => splice(bytes, random(bytes.length + 1), 0, Buffer.from('\r\n')),
  // Some of it twice.
  (bytes, random) => {
    const from = random(bytes.length + 1);
    return splice(bytes, random(bytes.length + 1), 0, bytes.subarray(from, from + random(120)));
  },
  // It ends in the middle: the far end was reset.
  (bytes, random) => bytes.subarray(0, random(bytes.length + 1)),
  // A flood, once in a while.
  (bytes, random) =>
    random(8) > 0
      ? bytes
      : splice(
          bytes,
          random(bytes.length + 1),
          0,
          Buffer.alloc(4_000 + random(6_000), protocolBytes.charCodeAt(random(8))),
        ),
];

const cut = (bytes: Buffer, random: Random): readonly Buffer[] => {
  const most = 1 + random(200);
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random(most);
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return chunks;
};
