/**
 * Many simulated devices in one process, each with its own key, enrolment and session, kept in a folder of its own and found again by a
 * later start. Those with an odd number speak of updates over the jobs topics, those with an even one over the older set.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
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
  const codes = options.codesFile === undefined ? [] : await readCodes(options.codesFile);
  const devices: Device[] = [];
  const close = async () => {
    await Promise.all(devices.map((device) => device.close()));
  };
  const numbers = Array.from({ length: options.count }, (_, index) => index + 1);
  const openNext = async (): Promise<void> => {
    for (;;) {
      const number = numbers.shift();
      if (number === undefined || options.signal.aborted) return;
      devices.push(await openOne(deps, options, number, codes[number - 1]));
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, openNext));
  } catch (error) {
    await close();
    throw error;
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

const openOne = async (
  { log }: { readonly log: Log },
  options: SimulateOptions,
  number: number,
  code: Code | undefined,
): Promise<Device> => {
  const id = code?.id ?? `${options.prefix}${String(number).padStart(3, '0')}`;
  if (!isDeviceId(id)) throw new HoldfastError('CONFIGURATION_INVALID', `${id} is no device id`);
  const dataDir = join(options.dataDir, id);
  return openSimulatedDevice(
    { credentials: await identify({ log }, options, dataDir, id, code), log },
    {
      dataDir,
      door: number % 2 === 1 ? 'jobs' : 'older',
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
  code: Code | undefined,
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
    code: code.code,
    deviceId: id,
    model: options.model,
    serialNo: `SIM-${id}`,
    firmwareVersion: options.initialVersion,
    ...(options.gateway !== undefined && { gateway: options.gateway }),
  });
  return loadCredentials(dataDir, deps.log);
};
