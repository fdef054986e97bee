/** A client that others wrote takes the time from a gateway that knows it, and from no other. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { ClockStatus } from '@holdfast/provisioning/time/trusted-clock';
import t, { type Test } from 'tap';
import { openNtpServer } from './ntp-server.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
/** The gateway is this much ahead of the machine: a client that has asked says so. */
const aheadMs = 7_000;

const serve = async (t: Test, isKnown: boolean): Promise<number> => {
  const status = (): ClockStatus => ({
    now: Date.now() + aheadMs,
    trusted: isKnown,
    source: isKnown ? 'signed' : null,
    doubt: isKnown ? null : 'unset',
    offset: 0,
    floor: 0,
    errorMs: 5,
    boot: 'b',
  });
  const clock = { status, monotonic: () => performance.now() };
  const server = await openNtpServer({ clock, log }, { host: '127.0.0.1', port: 0 });
  t.teardown(() => server.close());
  return server.port;
};

const run = (program: string, args: readonly string[]): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, LC_ALL: 'C' };
    execFile(program, args, { env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : 1, output: `${stdout}${stderr}` });
    });
  });

t.setTimeout(180_000);

t.test(
  'chrony measures how far the machine is off, and takes nothing that is not known',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-chrony-'));
    t.teardown(() => rm(folder, { recursive: true }));
    const ask = (port: number) =>
      run('chronyd', [
        ...['-Q', '-U', '-t', '12', '-u', userInfo().username],
        `server 127.0.0.1 port ${port} iburst maxsamples 1`,
        `pidfile ${join(folder, 'pid')}`,
        ...['cmdport 0', 'bindcmdaddress /'],
      ]);
    const known = await ask(await serve(t, true));
    const [, seconds] = /System clock wrong by (-?[\d.]+) seconds/.exec(known.output) ?? [];
    t.ok(Math.abs(Number(seconds) - aheadMs / 1_000) < 0.5, known.output);
    const unknown = await ask(await serve(t, false));
    t.not(unknown.code, 0);
    t.notMatch(unknown.output, /wrong by/);
  },
);
