/** Whether this machine knows what time it is, who tells it, and how far it is from the control plane's. */

import type { Agent } from 'node:https';
import { request } from 'node:https';
import type { MachineTime } from '@holdfast/provisioning/time/machine-time';
import { type Finding, findingsOf } from './finding.js';

export interface ClockDependencies {
  readonly time: Pick<MachineTime, 'rtc' | 'ntp' | 'read'>;
  /** What the control plane says that it is, epoch ms; undefined when it cannot be asked. */
  readonly askControlPlane: () => Promise<number | undefined>;
}

export interface ClockOptions {
  /** It is at least this late: the enrolment, the build. Epoch ms. */
  readonly floorMs: number;
}

const { ok, skipped, warning, failure } = findingsOf('clock');

/** A signature or a certificate is judged to the minute at best; HTTP tells seconds. */
const farOffMs = 60_000;

export const checkClock = async (
  { time, askControlPlane }: ClockDependencies,
  { floorMs }: ClockOptions,
): Promise<Finding[]> => {
  const now = time.read().system;
  const [rtc, ntp, theirs] = await Promise.all([time.rtc(), time.ntp(), askControlPlane()]);
  return [
    now < floorMs
      ? failure(
          `the clock says ${dateOf(now)}, but it is at least ${dateOf(floorMs)}`,
          'connect the machine to the network (NTP), or set it: sudo timedatectl set-time "YYYY-MM-DD hh:mm:ss"',
          { now, floorMs },
        )
      : ok(`the clock says ${dateOf(now)}`),
    ...(theirs === undefined ? [] : [offsetOf(now, theirs)]),
    ntp === null
      ? warning(
          'nothing keeps the clock right (no NTP)',
          'install chrony with an NTS server, or: sudo timedatectl set-ntp true',
        )
      : ok(
          `NTP keeps it right to ${ntp.errorMs} ms${ntp.authenticated ? ', authenticated' : ', not authenticated'}`,
          { ...ntp },
        ),
    rtc === null
      ? skipped(
          'no battery-backed clock: after a power cut the time is unknown until the network is there',
        )
      : Math.abs(rtc - now) > farOffMs
        ? warning(
            `the battery-backed clock says ${dateOf(rtc)}`,
            'sudo hwclock --systohc, and look at its battery',
            { rtc },
          )
        : ok('the battery-backed clock is right'),
  ];
};

const offsetOf = (now: number, theirs: number): Finding => {
  const offMs = now - theirs;
  const text = `${Math.round(Math.abs(offMs) / 1_000)} s ${offMs < 0 ? 'behind' : 'ahead of'} the control plane`;
  return Math.abs(offMs) > farOffMs
    ? failure(`the clock is ${text}`, 'set the clock: sudo timedatectl set-ntp true', { offMs })
    : ok(`the clock is at most ${text}`, { offMs });
};

const dateOf = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/** By the `date` of an answer over a connection whose other end was verified. */
export const dateFrom = (
  address: string,
  agent: Agent,
  limitMs = 8_000,
): Promise<number | undefined> =>
  new Promise((resolve) => {
    const asked = request(address, { agent, method: 'HEAD', timeout: limitMs }, (response) => {
      response.destroy();
      const date = Date.parse(response.headers.date ?? '');
      resolve(Number.isNaN(date) ? undefined : date);
    });
    asked.once('timeout', () => asked.destroy());
    asked.once('error', () => resolve(undefined));
    asked.end();
  });
