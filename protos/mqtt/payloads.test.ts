import fc from 'fast-check';
import t from 'tap';
import { parseCommand, parseCommandResponse } from './command-payload.js';
import { parseJobGet, parseJobNotify, parseJobUpdate } from './job-payload.js';
import { type Parsed, parseJson } from './json-payload.js';
import { parseHeartbeat, parseNotify, parseOlderCommand, parseStatus } from './older-payload.js';
import { parseShadowPlain, parseShadowUpdate } from './shadow-payload.js';
import { parseTelemetry } from './telemetry-payload.js';
import { parseTimeNow } from './time-payload.js';

const bytes = (value: unknown): Uint8Array =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const read = <T>(parsed: Parsed<T>): T | string => (parsed.ok ? parsed.value : parsed.reason);
const reasonOf = (parsed: Parsed<unknown>): string => (parsed.ok ? 'no' : parsed.reason);

const parsers: Readonly<Record<string, (payload: Uint8Array) => Parsed<unknown>>> = {
  parseTelemetry,
  parseShadowUpdate,
  parseShadowPlain,
  parseCommand,
  parseCommandResponse,
  parseJobUpdate,
  parseJobGet,
  parseJobNotify,
  parseTimeNow,
  parseHeartbeat,
  parseStatus,
  parseNotify,
  parseOlderCommand,
};

t.test('refuses hostile JSON with a reason, whichever payload it claims to be', async (t) => {
  const hostile: Record<string, Uint8Array> = {
    'nested 20,000 deep': bytes('['.repeat(20_000)),
    'objects 6,000 deep': bytes(`${'{"a":'.repeat(2_000)}1${'}'.repeat(2_000)}`),
    'an endless string': bytes('"abc'),
    'not UTF-8': Uint8Array.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
    'a prototype': bytes('{"state":{"desired":{"__proto__":{"polluted":1}}},"value":1}'),
    'a prototype, escaped': bytes('{"\\u005f_proto__":{"polluted":1}}'),
    'a number without end': bytes('{"value":1e999,"state":{"desired":{"a":1e999}}}'),
    'half a character': bytes('{"value":"\\ud800","state":{"desired":{"\\udc00":1}}}'),
    'too many bytes': new Uint8Array(200_000).fill(32),
  };
  for (const [name, parse] of Object.entries(parsers)) {
    for (const [what, payload] of Object.entries(hostile)) {
      t.match(parse(payload), { ok: false, reason: String }, `${name}: ${what}`);
    }
  }
  t.equal(Reflect.get({}, 'polluted'), undefined);
});

t.test('never throws, whatever the bytes', async () => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map(bytes),
    fc.record({ state: fc.jsonValue(), version: fc.jsonValue(), ts: fc.jsonValue() }).map(bytes),
  );
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(parsers)), payload, (parse, given) => {
      const parsed = parse(given);
      return parsed.ok || parsed.reason.length > 0;
    }),
    { numRuns: 2_000 },
  );
});

t.test('counts depth outside strings only, and takes exactly what is allowed', async (t) => {
  const limits = { maxBytes: 1_000, maxDepth: 3 };
  t.ok(parseJson(bytes('[[["[[[[{{{{\\"[["]]]'), limits).ok);
  t.match(parseJson(bytes('[[[[]]]]'), limits), { ok: false, reason: /3 levels/, code: 400 });
  t.match(parseJson(new Uint8Array(1_001), limits), { ok: false, code: 413 });
});

t.test('refuses a key that one object has twice, however it is written', async (t) => {
  for (const text of ['{"a":1,"a":2}', '{"a":1,"\\u0061":1}', '[{"b":{"a":1,"c":0,"a":1}}]']) {
    t.match(reasonOf(parseJson(bytes(text))), /twice/, text);
  }
  const fair = { a: { a: 1, b: ':"{,' }, b: { a: [':', { a: 1 }] }, ':': '\\":', '': {} };
  t.same(read(parseJson(bytes(fair))), fair);
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (value) => {
      const parsed = parseJson(bytes(JSON.stringify(value)));
      if (!parsed.ok && /twice/.test(parsed.reason)) throw new Error(parsed.reason);
    }),
  );
});

t.test('reads telemetry as a number, an object or a batch', async (t) => {
  t.same(read(parseTelemetry(bytes('21.5'))), [{ value: 21.5 }]);
  t.same(read(parseTelemetry(bytes({ value: 21.5, ts: 1_700_000_000_000.4, boot: 7, seq: 3 }))), [
    { value: 21.5, ts: 1_700_000_000_000, boot: '7', seq: 3 },
  ]);
  t.same(read(parseTelemetry(bytes({ t: 1, h: 2, constructor: 3 }))), [
    { value: { t: 1, h: 2, constructor: 3 } },
  ]);
  t.same(
    read(
      parseTelemetry(
        bytes({ boot: 'b', seq: 10, values: [1, { value: 2, ts: 5 }, { seq: 40, x: 1 }] }),
      ),
    ),
    [
      { value: 1, boot: 'b', seq: 10 },
      { value: 2, ts: 5, boot: 'b', seq: 11 },
      { value: { x: 1 }, boot: 'b', seq: 40 },
    ],
  );
  t.match(reasonOf(parseTelemetry(bytes('"21"'))), /number or an object/);
  t.match(reasonOf(parseTelemetry(bytes({ ts: 1 }))), /no value/);
  t.match(reasonOf(parseTelemetry(bytes({ value: 1, ts: '2024' }))), /ts/);
  t.same(
    read(parseTelemetry(bytes({ ts: 7, values: [1, { value: 2, ts: 70 }, 3] }))),
    [
      { value: 1, ts: 7 },
      { value: 2, ts: 70 },
      { value: 3, ts: 9 },
    ],
    'values of one time and without a number are told apart',
  );
  t.match(reasonOf(parseTelemetry(bytes({ values: [] }))), /empty/);
  t.match(reasonOf(parseTelemetry(bytes({ values: [1, 'x'] }))), /values.1/);
  t.match(reasonOf(parseTelemetry(bytes({ values: Array(1_001).fill(1) }))), /1000/);
});

t.test('reads shadow requests, and hands back the token of a refused one', async (t) => {
  t.same(read(parseShadowUpdate(bytes({ state: { reported: { a: null } }, thingName: 'x' }))), {
    state: { reported: { a: null } },
  });
  t.same(read(parseShadowUpdate(bytes({ state: null, version: 3, clientToken: 'c' }))), {
    state: null,
    version: 3,
    clientToken: 'c',
  });
  t.same(read(parseShadowPlain(new Uint8Array())), {});
  t.match(parseShadowUpdate(bytes({ clientToken: 'c' })), {
    ok: false,
    clientToken: 'c',
    code: 400,
  });
  t.match(parseShadowUpdate(bytes({ state: { other: {} }, clientToken: 'c' })), {
    ok: false,
    reason: /other/,
    clientToken: 'c',
  });
  t.match(parseShadowUpdate(bytes({ state: { desired: [1] } })), { ok: false });
  t.match(parseShadowUpdate(bytes({ state: {}, clientToken: 'é'.repeat(33) })), { ok: false });
});

t.test('reads commands and jobs', async (t) => {
  const command = { type: 'reboot', payload: { constructor: 1 }, expires_at: 5 };
  t.same(read(parseCommand(bytes(command))), command);
  t.same(read(parseCommandResponse(bytes({ status: 'succeeded', result: [1] }))), {
    status: 'succeeded',
    result: [1],
  });
  t.same(read(parseJobUpdate(bytes({ status: 'confirming', boot_id: 'b', version: '2' }))), {
    status: 'confirming',
    boot_id: 'b',
    version: '2',
  });
  t.match(parseJobUpdate(bytes({ status: 'flying' })), { ok: false, reason: /status/ });
  t.same(read(parseJobNotify(bytes({ execution: null }))), { execution: null });
  t.same(read(parseJobGet(new Uint8Array())), {});
  t.same(read(parseTimeNow(bytes({ ts: 1, trusted: false }))), { ts: 1, trusted: false });
});

t.test('reads the older set generously, its times as epoch milliseconds', async (t) => {
  const heartbeat = { serial_no: 's', model: 'm', current_firmware: '1' };
  for (const timestamp of [1_700_000_000, 1_700_000_000_000, '2023-11-14T22:13:20Z']) {
    t.same(read(parseHeartbeat(bytes({ ...heartbeat, timestamp }))), {
      ...heartbeat,
      timestamp: 1_700_000_000_000,
    });
  }
  t.same(read(parseStatus(bytes({ campaign_id: 'c', status: 'installing', progress: 40 }))), {
    campaign_id: 'c',
    status: 'installing',
    progress: 40,
  });
  t.same(read(parseNotify(bytes({ setting_changed: 'x', old_value: 1, new_value: { a: 2 } }))), {
    setting_changed: 'x',
    old_value: 1,
    new_value: { a: 2 },
  });
  t.match(parseOlderCommand(bytes({ command: 'ota_update', checksum: 'md5:1' })), { ok: false });
  t.same(read(parseOlderCommand(bytes({ command: 'config_update', interval: 5 }))), {
    command: 'config_update',
    interval: 5,
  });
});
