/** What no shadow can hold, at every door of the programs as they are shipped: refused in clear words, and nothing has changed. */
import * as grpc from '@grpc/grpc-js';
import type { UpdateShadowRequest } from '@holdfast/protos/gen/holdfast/v1/shadows';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import t from 'tap';
import { connectCrowd, report } from './bench/shadow-devices.js';
import { openSiteWithCloud, siteId } from './site-with-cloud.js';

t.setTimeout(240_000);

const bytesOf = (...parts: readonly (string | readonly number[])[]): Uint8Array =>
  Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))),
  );
const inDesired = (value: string | readonly number[]): Uint8Array =>
  bytesOf('{"state":{"desired":', value, '}}');
const nested = (levels: number, open: string, close: string): string =>
  `${open.repeat(levels)}1${close.repeat(levels)}`;

/** JSON that is too much, or none, in `desired` and instead of a request. */
const hostile: Readonly<Record<string, Uint8Array>> = {
  '__proto__ as a key': inDesired('{"__proto__":{"polluted":1}}'),
  '__proto__ further down': inDesired('{"a":{"__proto__":1}}'),
  '20,000 levels of objects': inDesired(nested(20_000, '{"a":', '}')),
  '20,000 levels of arrays': inDesired(nested(20_000, '[', ']')),
  '40 levels of arrays': inDesired(`{"a":${nested(40, '[', ']')}}`),
  'half of 20,000 levels': inDesired('{"a":'.repeat(5_000)),
  'a number out of range': inDesired('{"a":1e400}'),
  'a negative number out of range': inDesired('{"a":-1e400}'),
  NaN: inDesired('{"a":NaN}'),
  Infinity: inDesired('{"a":Infinity}'),
  'half a surrogate pair': inDesired('{"a":"\\ud800"}'),
  'half a surrogate pair as a key': inDesired('{"\\udc00":1}'),
  'bytes that are no UTF-8': inDesired([
    0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xc3, 0x28, 0x22, 0x7d,
  ]),
  'an array of 100,000': inDesired(`{"a":[${'1,'.repeat(99_999)}1]}`),
  'a document of 1 MB': inDesired(`{"a":"${'x'.repeat(1_048_576)}"}`),
  'thousands of leaves': inDesired(
    `{${Array.from({ length: 2_000 }, (_, at) => `"k${at}":1`).join()}}`,
  ),
  'null within an array': inDesired('{"a":[null]}'),
  'a key twice': inDesired('{"a":1,"b":{"a":1},"a":2}'),
  'nothing but a brace': bytesOf('{'),
  'a text': bytesOf('"text"'),
  'an array': bytesOf('[]'),
  NUL: bytesOf([0]),
  nothing: bytesOf(),
};

t.test('refuses what no shadow can hold, and others do not notice', async (t) => {
  const both = await openSiteWithCloud();
  t.teardown(() => both.close());
  const { site, api } = both;
  const [device, other] = await connectCrowd(site, 2);
  if (device === undefined || other === undefined) throw new Error('no devices');
  t.teardown(() => {
    for (const { client } of [device, other]) client.end(true);
  });
  const topic = `dt/${device.id}/shadow/update`;
  const path = `/api/v1/devices/${device.id}/shadows/-`;

  // What looks dangerous and is not: data like any other.
  const fair = { constructor: 'x', prototype: { a: 1 }, toString: 2, big: 1e308 };
  await report(device, fair);
  const before = (await site.ask('GET', path)).body;
  t.same(before.reported, fair);
  await both.inStep();

  const rejections: { code: number; message: string }[] = [];
  const arrived: (() => void)[] = [];
  device.client.on('message', (on, payload) => {
    if (!on.endsWith('/rejected')) return;
    rejections.push(JSON.parse(payload.toString()));
    arrived.shift()?.();
  });
  await device.client.subscribeAsync(`${topic}/rejected`, { qos: 1 });

  const unchanged = async (name: string): Promise<void> => {
    const { body } = await site.ask('GET', path);
    t.same(body.reported, before.reported, `${name}: what was reported is`);
    t.equal(body.version, before.version, `${name}: the version too`);
    t.same(body.desired, undefined);
    // Another device is served as ever.
    await withDeadline(report(other, { after: name }), 10_000, { doing: `serving after ${name}` });
  };

  for (const [name, payload] of Object.entries(hostile)) {
    const answer = new Promise<void>((resolve) => arrived.push(resolve));
    // What is larger than the broker takes of anybody ends the connection; the client connects again.
    const isTooLarge = payload.byteLength > 256 * 1_024;
    if (isTooLarge) {
      arrived.pop();
      const closed = new Promise<void>((resolve) => device.client.once('close', resolve));
      device.client.publish(topic, Buffer.from(payload), { qos: 0 });
      await withDeadline(closed, 10_000, { doing: `closing after ${name}` });
      await new Promise<void>((resolve) => device.client.once('connect', () => resolve()));
    } else {
      await device.client.publishAsync(topic, Buffer.from(payload), { qos: 1 });
      await withDeadline(answer, 10_000, { doing: `refusing ${name}` });
      const last = rejections.at(-1);
      t.ok(
        [400, 413, 415].includes(last?.code ?? 0),
        `over MQTT, ${name}: ${last?.code} ${last?.message}`,
      );
      t.ok((last?.message.length ?? 0) > 5, 'in words');
    }
    await unchanged(name);
  }

  for (const [name, payload] of Object.entries(hostile)) {
    const { status, body } = await site.ask('PATCH', path, payload);
    t.ok(
      [400, 413].includes(status),
      `over the local API, ${name}: ${status} ${JSON.stringify(body).slice(0, 90)}`,
    );
    await unchanged(name);
  }

  const raw = (request: Uint8Array): Promise<grpc.ServiceError | null> =>
    new Promise((resolve) => {
      api.shadows.makeUnaryRequest(
        '/holdfast.v1.Shadows/UpdateShadow',
        () => Buffer.from(request),
        () => ({}),
        {},
        api.metadata,
        { deadline: Date.now() + 20_000 },
        (error) => resolve(error),
      );
    });
  const name = `sites/${siteId}/devices/${device.id}/shadows/-`;
  const inCloud = async () => api.call(api.shadows, api.shadows.getShadow, { name });
  // What the decoder of a Struct makes of this key is nothing at all.
  await raw(structWith(name, '__proto__'));
  t.same(
    (await inCloud()).desired,
    undefined,
    'over gRPC, __proto__ as a key: nothing comes of it',
  );
  await raw(structWith(name, 'fair'));
  t.same((await inCloud()).desired, { fair: 'polluted' }, 'as it does of others');
  await api.call(api.shadows, api.shadows.updateShadow, {
    ...{ name, desired: { fair: null }, version: undefined },
  });
  const settled = Number(before.version) + 2;
  await waitUntil(
    'the site has both changes',
    async () => (await site.ask('GET', path)).body.version === settled,
  );
  before.version = settled;
  const { version } = await inCloud();
  const refused: Readonly<Record<string, grpc.ServiceError | null>> = {
    '20,000 levels': await raw(nestedStruct(name, 20_000)),
    '200 levels': await raw(nestedStruct(name, 200)),
    'bytes that are no message': await raw(Buffer.alloc(200, 0xff)),
    ...(await refusedOf({
      NaN: { a: Number.NaN },
      Infinity: { a: Number.POSITIVE_INFINITY },
      'a document of 1 MB': { a: 'x'.repeat(1_048_576) },
      'an array of 100,000': { a: Array.from({ length: 100_000 }, () => 1) },
      'null within an array': { a: [null] },
      'thousands of leaves': Object.fromEntries(
        Array.from({ length: 2_000 }, (_, at) => [`k${at}`, 1]),
      ),
    })),
  };
  for (const [what, error] of Object.entries(refused)) {
    const said = `${error?.code} ${error?.details.slice(0, 90)}`;
    t.ok(error !== null, `over gRPC, ${what}: ${said}`);
    t.notSame(error?.code, grpc.status.DEADLINE_EXCEEDED, what);
    t.notSame(error?.code, grpc.status.UNAVAILABLE, what);
  }
  t.equal((await inCloud()).version, version, 'nothing has changed in the cloud');
  await unchanged('gRPC');
  t.notOk('polluted' in {}, 'nor what every object has');

  async function refusedOf(
    wishes: Readonly<Record<string, UpdateShadowRequest['desired']>>,
  ): Promise<Record<string, grpc.ServiceError | null>> {
    const errors: Record<string, grpc.ServiceError | null> = {};
    for (const [what, desired] of Object.entries(wishes)) {
      errors[what] = await new Promise((resolve) => {
        api.shadows.updateShadow({ name, desired, version: undefined }, api.metadata, (error) =>
          resolve(error),
        );
      });
    }
    return errors;
  }
});

const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
const field = (number: number, length: number): number[] => [(number << 3) | 2, ...varint(length)];
/** UpdateShadowRequest with `desired` of one key that holds a text. */
const structWith = (name: string, key: string): Uint8Array => {
  const part = (number: number, bytes: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.from(field(number, bytes.length)), bytes]);
  const value = part(3, Buffer.from('polluted'));
  const entry = Buffer.concat([part(1, Buffer.from(key)), part(2, value)]);
  return Buffer.concat([part(1, Buffer.from(name)), part(2, part(1, entry))]);
};

/** UpdateShadowRequest with `desired` so deep, written as the wire has it: no encoder gets there. */
const nestedStruct = (name: string, levels: number): Uint8Array => {
  // Struct.fields = 1: an entry {key = 1: "a", value = 2: Value {struct_value = 5: Struct}}.
  const heads: number[][] = [];
  let length = 0;
  for (let level = 0; level < levels; level += 1) {
    const struct = field(5, length);
    const value = field(2, struct.length + length);
    const entry = [10, 1, 97, ...value, ...struct];
    const head = [...field(1, entry.length + length), ...entry];
    heads.push(head);
    length += head.length;
  }
  const text = Buffer.from(name);
  return Buffer.concat([
    Buffer.from(field(1, text.length)),
    text,
    Buffer.from(field(2, length)),
    ...heads.reverse().map((head) => Buffer.from(head)),
  ]);
};
