/**
 * Many simulated devices in one process, each with its own key, enrolment and session, kept in a folder of its own and found again by a
 * later start. Unless told otherwise, those with an odd number speak of updates over the jobs topics, those with an even one over the older
 * set.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
import { openRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { Device } from '../agent/device.js';
import { enrol } from '../agent/enrol.js';
import { type Credentials, loadCredentials } from '../agent/identity.js';
import type { Log } from '../agent/log.js';
import { openSimulatedDevice } from './simulated-device.js';

export interface SimulateOptions {
  readonly dataDir: string;
  readonly count: number;
  readonly prefix: string;
  readonly model: string;
  readonly initialVersion: string;
  readonly telemetryIntervalS: number;
  /** Which topics they speak of updates on; `both` by default. */
  readonly doors?: 'both' | 'jobs' | 'older';
  /** A file with a code a line, each alone or behind the id of the device it is for. */
  readonly codesFile?: string;
  readonly gateway?: string;
  readonly signal: AbortSignal;
}

export interface Simulation {
  readonly devices: readonly Device[];
  close(): Promise<void>;
}

/** Enrolments and handshakes at once. */
const concurrency = 8;

export const openSimulation = async (
  deps: { readonly log: Log },
  options: SimulateOptions,
): Promise<Simulation> => {
  await makeFolder(options.dataDir);
  const codes = options.codesFile === undefined ? [] : await readCodes(options.codesFile);
  const ids = await rememberIds(deps, options, codes);
  const devices: Device[] = [];
  const close = async () => {
    await Promise.all(devices.map((device) => device.close()));
  };
  const numbers = Array.from({ length: options.count }, (_, index) => index + 1);
  const openNext = async (): Promise<void> => {
    for (;;) {
      const number = numbers.shift();
      if (number === undefined || options.signal.aborted) return;
      const id = ids[number - 1];
      if (id !== undefined) {
        devices.push(await openOne(deps, options, number, id, codes[number - 1]?.code));
      }
    }
  };
  const worked = await Promise.allSettled(
    Array.from({ length: concurrency }, () =>
      openNext().catch((error: unknown) => {
        numbers.length = 0;
        throw error;
      }),
    ),
  );
  const failed = worked.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await close();
    throw failed.reason;
  }
  return { devices, close };
};

interface Code {
  readonly id: string | null;
  readonly code: string;
}

const readCodes = async (path: string): Promise<Code[]> => {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new HoldfastError('CONFIGURATION_INVALID', `--codes: ${messageOf(error)}`);
  });
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter(Boolean).map((line) => {
    const [first = '', second] = line.split(/\s+/);
    return second === undefined ? { id: null, code: first } : { id: first, code: second };
  });
};

/** Which device has which number: said by the codes once, kept for the starts without them. */
const rememberIds = async (
  { log }: { readonly log: Log },
  { dataDir, count, prefix }: SimulateOptions,
  codes: readonly Code[],
): Promise<readonly string[]> => {
  const record = await openRecord<readonly string[]>({
    path: join(dataDir, 'simulation.json'),
    parse: (value) => v.parse(v.array(deviceId), value),
    initial: [],
    log,
  });
  const known = record.data;
  if (known.length < count) {
    const numbers = Array.from({ length: count }, (_, index) => index);
    const ids = numbers.map(
      (index) =>
        known[index] ?? codes[index]?.id ?? `${prefix}${String(index + 1).padStart(3, '0')}`,
    );
    await record.update(() => ids);
  }
  return record.data.slice(0, count);
};

const deviceId = v.pipe(v.string(), v.check(isDeviceId, 'Expected a device id'));

const openOne = async (
  { log }: { readonly log: Log },
  options: SimulateOptions,
  number: number,
  id: string,
  code: string | undefined,
): Promise<Device> => {
  const dataDir = join(options.dataDir, id);
  const { doors = 'both' } = options;
  return openSimulatedDevice(
    { credentials: await identify({ log }, options, dataDir, id, code), log },
    {
      dataDir,
      door: doors === 'both' ? (number % 2 === 1 ? 'jobs' : 'older') : doors,
      initialVersion: options.initialVersion,
      telemetryIntervalS: options.telemetryIntervalS,
    },
  );
};

const identify = async (
  deps: { readonly log: Log },
  options: SimulateOptions,
  dataDir: string,
  id: string,
  code: string | undefined,
): Promise<Credentials> => {
  try {
    return await loadCredentials(dataDir, deps.log);
  } catch (error) {
    if (!isHoldfastError(error, 'NOT_ENROLLED')) throw error;
  }
  if (code === undefined) {
    throw new HoldfastError('NOT_ENROLLED', `${id} is not enrolled, and --codes has none for it`);
  }
  await enrol(deps, {
    dataDir,
    proof: { code },
    deviceId: id,
    model: options.model,
    serialNo: `SIM-${id}`,
    firmwareVersion: options.initialVersion,
    ...(options.gateway !== undefined && { gateway: options.gateway }),
  });
  return loadCredentials(dataDir, deps.log);
};
