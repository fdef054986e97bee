import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import { keyOf } from '@holdfast/protos/semantics/shadow-merge';
import type { Database } from '@holdfast/provisioning/storage/database';
import t from 'tap';
import { ShadowCache } from './shadow-cache.js';
import type { StoredShadow } from './stored-shadow.js';

const shadowOf = (leaves: number): StoredShadow => ({
  version: 1,
  exists: true,
  time: { wall: 1, counter: 0 },
  state: {
    leaves: new Map(
      Array.from({ length: leaves }, (_, at) => {
        const path = ['reported', `leaf-${at}`];
        const stamp = { wall: 1, counter: 0, replica: 'r', writer: 'w' };
        return [keyOf(path), { path, value: at, stamp }];
      }),
    ),
    lost: new Map(),
  },
});

t.test('holds what was used last, by what it takes and not by its number', async (t) => {
  const read: string[] = [];
  const database = {
    get: async (_sql: string, [device]: readonly string[]) => {
      read.push(String(device));
    },
  } as unknown as Database; // the one method of it that is called
  const cache = new ShadowCache(database, 1_000_000);
  const key = (device: string) => ({ device, name: classicShadow });
  for (let at = 0; at < 500; at += 1) cache.remember(key(`small-${at}`), shadowOf(1));
  t.ok(cache.bytes < 1_000_000);
  await cache.load(key('small-0'));
  t.same(read, [], 'five hundred small ones have room');
  cache.remember(key('large'), shadowOf(1_500));
  t.ok(cache.bytes <= 1_000_000);
  await cache.load(key('small-0'));
  await cache.load(key('small-499'));
  t.same(read, [], 'those used last stay beside a large one');
  await cache.load(key('small-1'));
  t.same(read, ['small-1'], 'the others are read again');
  cache.remember(key('largest'), shadowOf(10_000));
  t.equal(cache.bytes, 0, 'what is larger than all the room is not held');
  cache.remember(key('small'), shadowOf(1));
  const { bytes } = cache;
  cache.remember(key('small'), shadowOf(1));
  t.equal(cache.bytes, bytes, 'the same again counts once');
  cache.forget(key('small'));
  cache.forget(key('small'));
  t.equal(cache.bytes, 0);
});
