import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { applyDelta } from './apply-delta.js';
import { controlOf, deltaFormat, headerOf, readNumber, writeNumber } from './delta-format.js';
import { encodeDelta } from './encode-delta.js';
import { makeDelta } from './make-delta.js';

// A busy machine takes its time.
t.setTimeout(180_000);

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const openFolder = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'delta-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = (name: string) => join(folder, name);
  const apply = async (
    source: Uint8Array,
    delta: Uint8Array,
    target: { sha256: string; sizeBytes: number },
  ): Promise<Buffer> => {
    await writeFile(path('source'), source);
    await writeFile(path('delta'), delta);
    await applyDelta({
      source: path('source'),
      delta: path('delta'),
      format: deltaFormat,
      target: path('target'),
      ...target,
      signal: AbortSignal.timeout(60_000),
    });
    return readFile(path('target'));
  };
  return { folder, path, apply };
};

const promised = (image: Uint8Array) => ({ sha256: sha256Of(image), sizeBytes: image.length });

/** Something like code: mostly of the source, moved about, with some bytes changed and some new. */
const edited = fc
  .tuple(
    fc.uint8Array({ minLength: 1, maxLength: 2_000, max: 7 }),
    fc.array(
      fc.record({
        from: fc.nat(2_000),
        length: fc.nat(700),
        changes: fc.array(fc.nat(700), { maxLength: 5 }),
        added: fc.uint8Array({ maxLength: 40 }),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    fc.uint8Array({ minLength: 1, maxLength: 10 }),
  )
  .map(([source, edits, end]) => ({
    source,
    target: Buffer.concat([
      ...edits.flatMap(({ from, length, changes, added }) => {
        const piece = Buffer.from(source.subarray(from, from + length));
        for (const at of changes) if (at < piece.length) piece[at] = (piece[at] ?? 0) ^ 0x55;
        return [piece, added];
      }),
      end,
    ]),
  }));

t.test('what is made of source and delta is the target, whatever they are', async (t) => {
  const { path, apply } = await openFolder(t);
  const pairs = fc.oneof(
    edited,
    fc.record({
      source: fc.uint8Array({ maxLength: 300 }),
      target: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(pairs, async ({ source, target }) => {
      await encodeDelta(source, target, path('made'));
      const delta = await readFile(path('made'));
      t.ok((await apply(source, delta, promised(target))).equals(Buffer.from(target)));
    }),
    { numRuns: 100 },
  );
});

t.test('what repeats itself for long takes no long time', async (t) => {
  const { path, apply } = await openFolder(t);
  const source = Buffer.alloc(3_000_000);
  source.fill('holdfast', 1_000_000, 2_000_000);
  const target = Buffer.from(source);
  for (let i = 1; i < target.length; i += 150_001) target[i] = 1;
  const made = await encodeDelta(source, target, path('made'));
  t.ok((made?.sizeBytes ?? 1e9) < 1_000);
  const image = await apply(source, await readFile(path('made')), promised(target));
  t.ok(image.equals(target));
});

t.test('an empty source gives the image, compressed', async (t) => {
  const { path } = await openFolder(t);
  const image = Buffer.from('the same again '.repeat(10_000));
  await writeFile(path('image'), image);
  const order = { source: null, target: path('image'), delta: path('delta') };
  const made = await makeDelta(order, { signal: AbortSignal.timeout(60_000) });
  t.equal(made?.format, deltaFormat);
  t.ok((made?.sizeBytes ?? 1e9) < 500);
  t.equal(made?.sha256, sha256Of(await readFile(path('delta'))));
  await applyDelta({
    ...order,
    target: path('again'),
    format: deltaFormat,
    ...promised(image),
    signal: AbortSignal.timeout(60_000),
  });
  t.ok((await readFile(path('again'))).equals(image));
});

t.test('a delta that would be too large is given up, and nothing is left of it', async (t) => {
  const { folder, path } = await openFolder(t);
  await writeFile(path('a'), randomBytes(50_000));
  await writeFile(path('b'), randomBytes(50_000));
  const order = { source: path('a'), target: path('b'), delta: path('delta') };
  const signal = AbortSignal.timeout(60_000);
  t.equal(await makeDelta({ ...order, maxBytes: 30_000 }, { signal }), null);
  await t.rejects(makeDelta(order, { signal, maxImageBytes: 10 }), { code: 'REQUEST_TOO_LARGE' });
  await t.rejects(makeDelta({ ...order, target: folder }, { signal }), { code: 'CHILD_FAILED' });
  const reason = new Error('no longer wanted');
  await t.rejects(makeDelta(order, { signal: AbortSignal.abort(reason) }), reason);
  t.same((await readdir(folder)).sort(), ['a', 'b']);
});

const pack = (...parts: Uint8Array[]) => brotliCompressSync(Buffer.concat(parts));
const source = Buffer.from('0123456789');
const ten = promised(Buffer.from('0123456789'));

t.test('refuses by name what is no delta for these two', async (t) => {
  const { folder, path, apply } = await openFolder(t);
  const zeros = Buffer.alloc(100);
  const control = (diffBytes: number, extraBytes: number, seekBytes = 0) =>
    controlOf({ diffBytes, extraBytes, seekBytes });
  const whole = pack(headerOf(10), control(10, 0), zeros.subarray(0, 10));
  t.same(await apply(source, whole, ten), source);
  await rm(path('target'));
  const cases: Record<string, Buffer> = {
    nothing: Buffer.alloc(0),
    'no brotli': Buffer.from('surely not'),
    'no bsdiff': pack(zeros),
    'cut in the header': pack(headerOf(10).subarray(0, 20)),
    'cut in a control': pack(headerOf(10), control(10, 0).subarray(0, 5)),
    'cut in the bytes': pack(headerOf(10), control(10, 0), zeros.subarray(0, 9)),
    'cut in the brotli': whole.subarray(0, -2),
    'another size': pack(headerOf(11), control(10, 0), zeros.subarray(0, 10)),
    'more than the image': pack(headerOf(10), control(11, 0), zeros.subarray(0, 11)),
    'more extra than the image': pack(headerOf(10), control(9, 2), zeros.subarray(0, 11)),
    'less than nothing': pack(headerOf(10), control(-1, 11), zeros.subarray(0, 11)),
    'before the source': pack(headerOf(10), control(0, 0, -1), control(10, 0), zeros),
    'beyond the source': pack(headerOf(10), control(0, 0, 1), control(10, 0), zeros),
    'numbers beyond numbers': pack(headerOf(10), Buffer.alloc(24, 0xff), zeros),
    'a position beyond numbers': pack(
      headerOf(10),
      ...Array.from({ length: 3 }, () => control(0, 0, Number.MAX_SAFE_INTEGER)),
    ),
    'more after the image': pack(headerOf(10), control(10, 0), zeros.subarray(0, 11)),
    'for ever nothing': pack(headerOf(10), Buffer.alloc(30_000_000)),
  };
  for (const [name, delta] of Object.entries(cases)) {
    await t.rejects(apply(source, delta, ten), { code: 'UPDATE_DELTA_INVALID' }, name);
  }
  await t.rejects(apply(Buffer.from('1123456789'), whole, ten), { code: 'UPDATE_DIGEST_MISMATCH' });
  t.same((await readdir(folder)).sort(), ['delta', 'source'], 'nothing is left of any');
  const another = { source: null, delta: path('delta'), format: 'vcdiff', target: path('target') };
  const signal = AbortSignal.timeout(60_000);
  await t.rejects(applyDelta({ ...another, ...ten, signal }), { code: 'UPDATE_DELTA_INVALID' });
  const gone = { ...another, format: deltaFormat, delta: path('gone'), ...ten, signal };
  await t.rejects(applyDelta(gone), { code: 'STORE_UNAVAILABLE' });
  await t.rejects(applyDelta({ ...gone, source: path('gone') }), { code: 'STORE_UNAVAILABLE' });
  const reason = new HoldfastError('RESOURCE_NOT_FOUND', 'nobody needs it any more');
  await t.rejects(applyDelta({ ...gone, signal: AbortSignal.abort(reason) }), reason);
  t.same((await readdir(folder)).sort(), ['delta', 'source']);
});

t.test('whatever is done to a delta, the image is right or refused by name', async (t) => {
  const { folder, path, apply } = await openFolder(t);
  const source = randomBytes(4_000);
  const target = Buffer.concat([source.subarray(1_000, 3_000), randomBytes(100), source]);
  await encodeDelta(source, target, path('made'));
  const made = await readFile(path('made'));
  const raw = brotliDecompressSync(made);
  await rm(path('made'));
  const fast = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };
  const harm = fc.record({
    isPacked: fc.boolean(),
    changes: fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { minLength: 1, maxLength: 4 }),
    cut: fc.option(fc.nat(), { freq: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(harm, async ({ isPacked, changes, cut }) => {
      const bytes = Buffer.from(isPacked ? made : raw);
      // The controls stand at the beginning and between; half of the changes shall hit the first.
      for (const { at, to } of changes) bytes[at % (at % 2 === 0 ? 80 : bytes.length)] = to;
      const left = cut === null ? bytes : bytes.subarray(0, cut % bytes.length);
      const delta = isPacked ? left : brotliCompressSync(left, fast);
      try {
        t.ok((await apply(source, delta, promised(target))).equals(target));
        await rm(path('target'));
      } catch (error) {
        const isNamed =
          isHoldfastError(error, 'UPDATE_DELTA_INVALID') ||
          isHoldfastError(error, 'UPDATE_DIGEST_MISMATCH');
        if (!isNamed) throw error;
      }
      t.same((await readdir(folder)).sort(), ['delta', 'source']);
    }),
    { numRuns: 250 },
  );
});

t.test('numbers are little-endian with their sign in the highest bit', async (t) => {
  const bytes = Buffer.alloc(8);
  for (const value of [0, 1, -1, 255, -256, 2 ** 31, -(2 ** 40), Number.MAX_SAFE_INTEGER]) {
    writeNumber(value, bytes, 0);
    t.equal(readNumber(bytes, 0), value === 0 ? 0 : value);
  }
  t.same([...controlOf({ diffBytes: 258, extraBytes: 0, seekBytes: -1 }).subarray(0, 2)], [2, 1]);
  writeNumber(-1, bytes, 0);
  t.same([...bytes], [1, 0, 0, 0, 0, 0, 0, 0x80]);
  t.ok(Number.isNaN(readNumber(Buffer.alloc(8, 0xff), 0)));
});
