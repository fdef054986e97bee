/**
 * Measures a gateway (a program of its own, on this machine) at what trust costs: enrolments a second, TLS handshakes a second up to
 * CONNACK, full and resumed, and how long a revoked device stays connected. `npm run bench:trust [--quick]`.
 */
import { performance } from 'node:perf_hooks';
import { socketClosed } from '@holdfast/provisioning/program/socket-closed';
import { type DeviceCredentials, greet, openSiteUnderTest } from '../site-under-test.js';

const isQuick = process.argv.includes('--quick');
const enrolments = isQuick ? 20 : 300;
const handshakes = isQuick ? 20 : 500;
const revocations = isQuick ? 10 : 100;
const atOnce = 8;

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

const told = (what: string, times: readonly number[], elapsedMs?: number): void => {
  const sorted = [...times].sort((a, b) => a - b);
  const [p50, p95, p99, most] = [0.5, 0.95, 0.99, 1].map((share) =>
    percentile(sorted, share).toFixed(1),
  );
  const rate = elapsedMs && `${((times.length / elapsedMs) * 1_000).toFixed(0)}/s, `;
  process.stdout.write(
    `${what.padEnd(34)} ${rate ?? ''}p50 ${p50} ms, p95 ${p95} ms, p99 ${p99} ms, most ${most} ms (n = ${times.length})\n`,
  );
};

/** Runs `work` for each of `count` numbers, some at once; the times of each, and of all. */
const timed = async (
  count: number,
  parallel: number,
  work: (index: number) => Promise<void>,
): Promise<{ times: number[]; elapsedMs: number }> => {
  const times: number[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      const start = performance.now();
      await work(index);
      times.push(performance.now() - start);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: parallel }, lane));
  return { times, elapsedMs: performance.now() - start };
};

const site = await openSiteUnderTest();
try {
  const wishes: (() => Promise<DeviceCredentials>)[] = [];
  for (let index = 0; index < enrolments; index += 1) {
    wishes.push(await site.prepare(`device-${index}`));
  }
  const devices: DeviceCredentials[] = [];
  const enrolled = await timed(enrolments, atOnce, async (index) => {
    const wish = wishes[index];
    if (wish !== undefined) devices.push(await wish());
  });
  told('enrolment, CSR to certificate', enrolled.times, enrolled.elapsedMs);

  const deviceOf = (index: number): DeviceCredentials => {
    const device = devices[index % devices.length];
    if (device === undefined) throw new Error('no device was enrolled');
    return device;
  };
  const tickets = new Map<string, Buffer>();
  const shake = async (credentials: DeviceCredentials, ticket?: Buffer): Promise<void> => {
    const connection = await site.handshake('mqtts', credentials, ticket);
    if (connection.isResumed !== (ticket !== undefined)) throw new Error('it was not as wanted');
    await greet(connection, credentials.device);
    // One ticket resumes many times.
    if (ticket === undefined) tickets.set(credentials.device, await connection.ticket);
    connection.socket.destroy();
  };
  const full = await timed(handshakes, atOnce, (index) => shake(deviceOf(index)));
  told('full TLS handshake to CONNACK', full.times, full.elapsedMs);
  const resumed = await timed(handshakes, atOnce, (index) => {
    const device = deviceOf(index);
    return shake(device, tickets.get(device.device));
  });
  told('resumed TLS handshake to CONNACK', resumed.times, resumed.elapsedMs);

  const cut: number[] = [];
  const answered: number[] = [];
  for (const credentials of devices.slice(0, revocations)) {
    const connection = await site.handshake('mqtts', credentials);
    await greet(connection, credentials.device);
    const gone = socketClosed(connection.socket);
    const start = performance.now();
    const answer = site
      .ask('POST', `/api/v1/devices/${credentials.device}/revocations`, {})
      .then(() => answered.push(performance.now() - start));
    await gone;
    cut.push(performance.now() - start);
    await answer;
  }
  told('revocation asked, session cut', cut);
  told('revocation asked, committed, told', answered);
} finally {
  await site.close();
}
