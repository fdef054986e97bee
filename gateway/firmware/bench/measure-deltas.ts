/** How large deltas of real firmware are: pairs of Debian's packages for arm64, our encoder beside the usual ones. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import { makeDelta } from '@holdfast/provisioning/delta/make-delta';
import { type DebianPair, debianPairs, fetchPair } from './debian-pairs.js';

const run = promisify(execFile);

export interface DeltaSizes {
  readonly pair: string;
  /** Bytes of the new image. */
  readonly image: number;
  /** By encoder: bytes, and the seconds that it took. */
  readonly encoders: Readonly<Record<string, { readonly bytes: number; readonly seconds: number }>>;
}

type Encode = (from: string, to: string, out: string) => Promise<void>;

const ours: Encode = async (source, target, delta) =>
  void (await makeDelta({ source, target, delta }, { signal: AbortSignal.timeout(1_800_000) }));

const encoders: Readonly<Record<string, Encode>> = {
  holdfast: ours,
  'zstd -19, full': async (_from, to, out) =>
    void (await run('zstd', ['-19', '-q', to, '-o', out])),
  bsdiff: async (from, to, out) => void (await run('bsdiff', [from, to, out])),
  'xdelta3 -9': async (from, to, out) =>
    void (await run('xdelta3', ['-e', '-9', '-S', 'lzma', '-s', from, to, out])),
  'zstd --patch-from': async (from, to, out) =>
    void (await run('zstd', ['-19', '--long=27', '-q', `--patch-from=${from}`, to, '-o', out])),
};

export const measureDeltas = async (
  { say }: { readonly say: (text: string) => void },
  { isQuick }: { readonly isQuick: boolean },
): Promise<DeltaSizes[]> => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-deltas-'));
  try {
    const sizes: DeltaSizes[] = [];
    for (const pair of debianPairs.filter(({ isLarge }) => !(isQuick && isLarge))) {
      say(`deltas: ${pair.name} …`);
      sizes.push(await sizesOf(pair, folder));
    }
    return sizes;
  } finally {
    await rm(folder, { recursive: true });
  }
};

const sizesOf = async (pair: DebianPair, folder: string): Promise<DeltaSizes> => {
  const { from, to, label } = await fetchPair(pair, folder);
  const figures: Record<string, { bytes: number; seconds: number }> = {};
  for (const [name, encode] of Object.entries(encoders)) {
    const out = join(folder, 'out');
    await rm(out, { force: true });
    const begun = performance.now();
    await encode(from, to, out);
    const seconds = (performance.now() - begun) / 1_000;
    figures[name] = { bytes: (await stat(out)).size, seconds };
  }
  return { pair: label, image: (await readFile(to)).length, encoders: figures };
};

export const sizesTable = (sizes: readonly DeltaSizes[]): string => {
  const names = Object.keys(sizes[0]?.encoders ?? {});
  const rows = sizes.map(({ pair, image, encoders: of }) => [
    pair,
    image.toLocaleString('en'),
    ...names.map((name) => {
      const { bytes = 0, seconds = 0 } = of[name] ?? {};
      return `${bytes.toLocaleString('en')} (${seconds.toFixed(1)} s)`;
    }),
  ]);
  const head = ['bytes of a delta (time of the encoder)', 'image', ...names];
  const widths = head.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, at) =>
          at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart((widths[at] ?? 0) + 2),
        )
        .join(''),
    )
    .join('\n');
};
