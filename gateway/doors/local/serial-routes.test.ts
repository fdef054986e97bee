import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { jsonLines } from '@holdfast/devices/serial/json-lines/json-lines';
import { PortPair } from '@holdfast/devices/serial/port/port-pair';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Role, roles } from '@holdfast/protos/local/people';
import { serialAnswer } from '@holdfast/protos/local/serial';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import t, { type Test } from 'tap';
import * as v from 'valibot';
import { authorise } from '../../trust/authorise.js';
import type { Principal } from '../../trust/identity.js';
import { SerialLines } from '../serial/serial-lines.js';
import { SerialMonitors, type SerialMonitorsOptions } from '../serial/serial-monitor.js';
import { openHttpDoor } from './http-door.js';
import { tokenOf } from './people-gate.js';
import { serialRoutes } from './serial-routes.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const nobody = async (): Promise<undefined> => undefined;
const never = new AbortController().signal;

/** A door for people who are who they say (`Bearer viewer`), and a line in memory whose driver says `who` when it comes up. */
const openDoor = async (t: Test, options: SerialMonitorsOptions = {}) => {
  const signedOut = new Set<string>();
  const identify = (request: IncomingMessage): Principal => {
    const role = roles.find((one) => one === tokenOf(request));
    if (role === undefined || signedOut.has(role)) return { kind: 'anonymous', reason: 'nobody' };
    return { kind: 'person', user: `a-${role}`, role };
  };
  const pair = new PortPair();
  const lines = new SerialLines({ now: Date.now, log, openPort: pair.openPort, findPort: found });
  const handlers = {
    ...{ online: nobody, offline: nobody, telemetry: nobody, reported: nobody, response: nobody },
    ...{ jobStatus: nobody, welcomed: () => undefined, failed: () => undefined },
    image: async () => Buffer.alloc(0),
    desired: async () => ({ state: {}, version: 0 }),
    time: () => ({ ts: 0, trusted: false }),
  };
  const driven = lines.drive(
    { driver: jsonLines, devices: [{ id: 'pump-1', handlers, settings: undefined }] },
    { name: 'line-1', address: { path: '/dev/ttyUSB0' }, retryDelayMs: () => 5 },
  );
  const monitors = new SerialMonitors(
    {
      isAllowed: (request) => authorise(identify(request), 'call', 'serial.monitor').allowed,
      now: Date.now,
    },
    options,
  );
  const { tls } = await (await createTestFleet()).gatewayServer('g');
  const listPorts = async () => [
    { path: '/dev/ttyUSB0', driver: 'ch341', usb: descriptor },
    { path: '/dev/ttyUSB1', driver: 'ch341', usb: { ...descriptor, socket: '1-3' } },
  ];
  const door = await openHttpDoor(
    {
      routes: serialRoutes({ lines, monitors, listPorts }),
      identify,
      refusal: (_request, { reason }) => new HoldfastError('NOT_AUTHORISED', reason),
      log,
    },
    { host: '127.0.0.1', port: 0, tls, asksForCertificate: false },
  );
  t.teardown(async () => {
    monitors.close();
    await driven.close();
    await door.close();
  });
  const ask = async (path: string, role: Role) => {
    const request = httpsRequest({
      ...{ host: '127.0.0.1', port: door.port, path: `/api/v1${path}`, rejectUnauthorized: false },
      headers: { authorization: `Bearer ${role}` },
    });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.on('error', () => undefined);
    return response;
  };
  return { ...driven, pair, lines, ask, signedOut, monitors };
};

const descriptor = {
  ...{ vendor: '1a86', product: '7523', serial: null, title: 'USB Serial' },
  ...{ socket: '1-2', interface: '1-2:1.0' },
};
const found = async (address: { path: string } | { usb: string }) => ({
  path: 'path' in address ? address.path : address.usb,
});

/** What a monitor says, a line at a time. */
const reader = (response: IncomingMessage) => {
  const lines: Record<string, unknown>[] = [];
  let rest = '';
  let wake: () => void = () => undefined;
  response.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts.map((line) => JSON.parse(line) as Record<string, unknown>));
    wake();
  });
  return async (isIt: (line: Record<string, unknown>) => boolean) => {
    for (;;) {
      const line = lines.shift();
      if (line !== undefined && isIt(line)) return line;
      if (line === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  };
};

const holds = (words: string) => (line: Record<string, unknown>) =>
  Buffer.from(String(line.data ?? ''), 'base64')
    .toString()
    .includes(words);

const up = async (pair: PortPair, open: () => void): Promise<void> => {
  const asked = new Promise<void>((resolve) => pair.far.onBytes(() => resolve()));
  open();
  await asked;
};

t.test('lists every line and port, and which is which', async (t) => {
  const { ask, pair, open } = await openDoor(t);
  await up(pair, open);
  const answer = v.parse(serialAnswer, JSON.parse(await text(await ask('/serial', 'viewer'))));
  t.match(answer.lines, [
    {
      ...{ name: 'line-1', driver: 'json-lines', address: '/dev/ttyUSB0', path: '/dev/ttyUSB0' },
      ...{ state: 'up', reason: null, opened: 1, bytes_in: 0 },
      devices: [{ device: 'pump-1', online: false, dropped_frames: 0 }],
    },
  ]);
  t.ok((answer.lines[0]?.bytes_out ?? 0) > 0, 'it asked who is there');
  t.match(answer.ports, [
    { path: '/dev/ttyUSB0', address: 'usb 1a86:7523@1-2', line: 'line-1' },
    { path: '/dev/ttyUSB1', usb: { id: '1a86:7523', title: 'USB Serial' }, line: null },
  ]);
});

t.test('shows what passes, both ways, to technicians, by the name of line or device', async (t) => {
  const { ask, pair, open, line } = await openDoor(t);
  t.equal((await ask('/serial/lines/pump-1/monitor', 'viewer')).statusCode, 403);
  t.equal((await ask('/serial/lines/none/monitor', 'technician')).statusCode, 404);
  t.equal((await ask('/serial/lines/line-1/monitor?direction=up', 'technician')).statusCode, 400);
  const next = reader(await ask('/serial/lines/pump-1/monitor', 'technician'));
  t.match(await next(() => true), { monitoring: { line: 'line-1', state: 'down' } });
  open();
  t.match(await next(holds('"who"')), { direction: 'out', at: Number });
  t.match(await next(({ state }) => state !== undefined), { state: 'up', reason: null });
  pair.far.write('good day');
  t.match(await next(holds('good day')), { direction: 'in' });
  await line.takeOver((port) => port.write(Buffer.from('0 ')), {
    reason: 'flashing',
    signal: never,
  });
  t.match(await next(holds('0 ')), { direction: 'out' }, 'flashing too');
});

t.test('shows one direction alone where that was asked for', async (t) => {
  const { ask, pair, open } = await openDoor(t);
  const next = reader(await ask('/serial/lines/line-1/monitor?direction=in', 'technician'));
  await next(() => true);
  await up(pair, open);
  pair.far.write('good day');
  t.match(await next(({ data }) => data !== undefined), { direction: 'in' }, 'the who was out');
});

t.test('a reader that is slow misses bytes, which are counted, and holds up nobody', async (t) => {
  const { ask, pair, open, line } = await openDoor(t, { maxWaitingBytes: 20_000 });
  const response = await ask('/serial/lines/line-1/monitor?direction=in', 'technician');
  await up(pair, open);
  const total = 40_000_000;
  let taken = 0;
  await line.takeOver(
    (port) =>
      new Promise<void>((resolve) => {
        port.onBytes((bytes) => {
          taken += bytes.length;
          if (taken >= total) resolve();
          else if (taken % 1_000_000 === 0) pair.far.write(Buffer.alloc(1_000_000, 'x'));
        });
        pair.far.write(Buffer.alloc(1_000_000, 'x'));
      }),
    { reason: 'a flood', signal: never },
  );
  t.equal(taken, total, 'though nobody read what was shown');
  const next = reader(response);
  let seen = 0;
  let missed = 0;
  await next((one) => {
    if (typeof one.data === 'string') seen += Buffer.from(one.data, 'base64').length;
    if (one.missed !== undefined) missed += (one.missed as { bytes_in: number }).bytes_in;
    return seen + missed >= total;
  });
  t.ok(missed > 0);
  t.equal(seen + missed, total, 'each byte is shown or counted');
});

t.test('what waits for a slow reader is bounded in pieces, too', async (t) => {
  const { ask, pair, open, line } = await openDoor(t, { maxWaitingBytes: 6_500 });
  const response = await ask('/serial/lines/line-1/monitor?direction=in', 'technician');
  await up(pair, open);
  await line.takeOver(
    (port) =>
      new Promise<void>((resolve) => {
        let taken = 0;
        port.onBytes((bytes) => {
          taken += bytes.length;
          if (taken === 1_000) resolve();
        });
        for (let piece = 0; piece < 1_000; piece += 1) pair.far.write(Buffer.from('x'));
      }),
    { reason: 'a trickle', signal: never },
  );
  const next = reader(response);
  const missed = await next((one) => one.missed !== undefined);
  t.match(missed, { missed: { bytes_in: 900 } });
});

t.test('ends with the right, with the gateway, and with its reader', async (t) => {
  const { ask, signedOut, monitors } = await openDoor(t, { aliveMs: 20, maxMonitors: 1 });
  const response = await ask('/serial/lines/line-1/monitor', 'technician');
  const next = reader(response);
  await next(({ alive }) => alive !== undefined);
  t.equal((await ask('/serial/lines/line-1/monitor', 'installer')).statusCode, 429);
  signedOut.add('technician');
  await once(response, 'end');
  const second = await ask('/serial/lines/line-1/monitor', 'installer');
  second.resume();
  monitors.close();
  await once(second, 'end');
  const third = await ask('/serial/lines/line-1/monitor', 'installer');
  third.destroy();
  for (let status = 429; status === 429; ) {
    const again = await ask('/serial/lines/line-1/monitor', 'installer');
    status = again.statusCode ?? 0;
    again.destroy();
  }
});
