/**
 * The local API for buses: how they do, and what an installer in a cellar asks to find out whether wiring, unit number, address and order
 * of bytes are right. It reads only: what is to be written is desired of the device, within the limits of its map.
 */

import { findSettings } from '@holdfast/devices/modbus/find-settings';
import { exceptionText, type ModbusOutcome } from '@holdfast/devices/modbus/modbus-request';
import { partOf } from '@holdfast/devices/modbus/read-block';
import { possibleReadings } from '@holdfast/devices/modbus/readings';
import { type RegisterKind, registerKinds } from '@holdfast/devices/modbus/register-map';
import { decode } from '@holdfast/devices/modbus/register-value';
import { systemTimers } from '@holdfast/devices/modbus/timers';
import { addressText } from '@holdfast/devices/serial/port/port-settings';
import type { SerialLine } from '@holdfast/devices/serial/port/serial-line';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type {
  ModbusBusRow,
  ModbusProbeAnswer,
  ModbusReadAnswer,
  ModbusScanAnswer,
  ModbusSettingsAnswer,
} from '@holdfast/protos/local/modbus';
import * as v from 'valibot';
import { parseBody } from '../local/request-body.js';
import type { Route, RouteRequest } from '../local/routes.js';
import { serialLineRow } from '../serial/serial-line-row.js';
import type { SerialLineStatus } from '../serial/serial-lines.js';
import type { ModbusLine } from './modbus-lines.js';

export interface ModbusRoutesDeps {
  readonly buses: () => readonly ModbusLine[];
  readonly lines: {
    list(): readonly SerialLineStatus[];
    find(name: string): Pick<SerialLine, 'takeOver' | 'settings'> | undefined;
  };
}

const unitOnly = v.strictObject({
  unit: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(247)),
});
/** Two dozen ways to speak, each with this patience, are asked for in one answer. */
const settingsTimeoutMs = 250;
const mostSettingsMs = 25_000;

/** An answer takes its time, and the polling goes on in between. */
const mostUnitsAtOnce = 16;
const mostRegistersAtOnce = 64;

export const modbusRoutes = ({ buses, lines }: ModbusRoutesDeps): readonly Route[] => {
  const busOf = ({ params }: RouteRequest): ModbusLine => {
    const name = params.get('bus') ?? '';
    const found = buses().find((bus) => bus.name === name);
    if (found !== undefined) return found;
    throw notFound(`there is no bus ${name} at this gateway`);
  };

  const status = async (): Promise<object> => {
    const all = lines.list();
    return {
      buses: buses().flatMap((bus) => {
        const line = all.find(({ name }) => name === bus.name);
        return line === undefined ? [] : [busRow(bus, line)];
      }),
    };
  };

  const probe = async (request: RouteRequest): Promise<ModbusProbeAnswer> => {
    const { name, bus } = busOf(request);
    const { query } = request;
    const kind = kindOf(query.get('kind') ?? 'holding');
    const unit = numberOf(query, 'unit', 1, 255);
    const count = numberOf(query, 'count', 1, mostRegistersAtOnce, 4);
    const address = numberOf(query, 'address', 0, 65_536 - count);
    const outcome = await bus.ask({ type: 'read', unit, kind, address, count });
    if (outcome.type !== 'answer') return { ...problemOf(outcome, name), words: [], readings: [] };
    const isBits = kind === 'coil' || kind === 'discrete';
    const words = isBits ? bitsOf(outcome.bytes, count) : wordsOf(outcome.bytes);
    const readings = isBits ? [] : possibleReadings(outcome.bytes);
    return {
      ...{ problem: null, next: null, words },
      readings: readings.map(({ type, byteOrder, value }) => ({
        type,
        byte_order: byteOrder,
        value,
      })),
    };
  };

  const scan = async (request: RouteRequest): Promise<ModbusScanAnswer> => {
    const { bus, units, timeoutMs } = busOf(request);
    const { query } = request;
    const from = numberOf(query, 'from', 1, 247);
    const to = numberOf(query, 'to', from, Math.min(247, from + mostUnitsAtOnce - 1));
    const kind = kindOf(query.get('kind') ?? 'holding');
    const address = numberOf(query, 'address', 0, 65_535, 0);
    const patienceMs = numberOf(query, 'timeout_ms', 20, 1_000, Math.min(timeoutMs, 1_000));
    const found: ModbusScanAnswer['found'][number][] = [];
    for (let unit = from; unit <= to; unit += 1) {
      const asked = { type: 'read', unit, kind, address, count: 1 } as const;
      const outcome = await bus.ask(asked, patienceMs);
      if (outcome.type === 'none' && !outcome.isGarbled) continue;
      const device = units.find((one) => one.unit === unit)?.device ?? null;
      found.push({ unit, device, said: saidOf(outcome) });
    }
    return { found };
  };

  const read = async (request: RouteRequest): Promise<ModbusReadAnswer> => {
    const device = request.params.get('device') ?? '';
    const name = request.query.get('name');
    for (const { name: line, bus, units } of buses()) {
      const unit = units.find((one) => one.device === device);
      if (unit === undefined) continue;
      const wanted = unit.map.registers.filter((one) => name === null || one.name === name);
      if (wanted.length === 0) {
        const names = unit.map.registers.map((one) => one.name).join(', ');
        throw new HoldfastError(
          'RESOURCE_NOT_FOUND',
          `${device} has no register ${name}; its map has ${names}`,
          { data: { next: `holdfast --gateway modbus read ${device}` } },
        );
      }
      const registers: ModbusReadAnswer['registers'][number][] = [];
      for (const register of wanted.slice(0, mostRegistersAtOnce)) {
        const { kind, address, count } = register;
        const outcome = await bus.ask({ type: 'read', unit: unit.unit, kind, address, count });
        const row = { name: register.name, kind, address, unit: register.unit };
        if (outcome.type !== 'answer') {
          const { problem } = problemOf(outcome, line);
          registers.push({ ...row, value: null, problem });
          // Others would wait for it as long again.
          if (outcome.type === 'none') break;
          continue;
        }
        const block = { kind, address, count, pollMs: 0, registers: [register] };
        const value = decode(register, partOf(block, register, outcome.bytes));
        registers.push({
          ...row,
          value: value.ok ? value.value : null,
          problem: value.ok ? null : value.reason,
        });
      }
      return { registers };
    }
    throw notFound(`there is no unit ${device} on a bus of this gateway`);
  };

  const settings = async (request: RouteRequest): Promise<ModbusSettingsAnswer> => {
    const { name } = busOf(request);
    const { unit } = parseBody(unitOnly, request.body);
    const line = lines.find(name);
    const row = lines.list().find((one) => one.name === name);
    if (line === undefined || row === undefined || addressText(row.address).startsWith('tcp ')) {
      const message = `${name} is no serial port: over TCP there is neither a baud rate nor a parity to find`;
      throw new HoldfastError('REQUEST_INVALID', message, {
        data: { next: `holdfast --gateway modbus scan ${name}` },
      });
    }
    const signal = AbortSignal.timeout(mostSettingsMs);
    const found = await line.takeOver(
      (port, ended) =>
        findSettings(
          { port, timers: systemTimers },
          { unit, timeoutMs: settingsTimeoutMs, signal: ended },
        ),
      { reason: `finding the settings of unit ${unit}`, signal },
    );
    const { baudRate, parity } = line.settings;
    return {
      found: found && {
        baud_rate: found.settings.baudRate,
        parity: found.settings.parity,
        said: found.said,
      },
      configured: { baud_rate: baudRate, parity },
    };
  };

  const ask = (path: string, handle: Route['handle']): Route => ({
    method: 'GET',
    path: `/api/v1/modbus${path}`,
    right: 'modbus.ask',
    handle,
  });
  return [
    { method: 'GET', path: '/api/v1/modbus', right: 'site.read', handle: status },
    ask('/devices/:device/registers', read),
    ask('/buses/:bus/probe', probe),
    ask('/buses/:bus/scan', scan),
    { ...ask('/buses/:bus/settings', settings), method: 'POST' },
  ];
};

const busRow = ({ name, bus, units }: ModbusLine, line: SerialLineStatus): ModbusBusRow => {
  const { address, state, reason, next } = serialLineRow(line);
  const counts = bus.statistics.counts;
  return {
    ...{ name, address, state, reason, next },
    requests: counts.requests,
    answers: counts.answers,
    timeouts: counts.timeouts,
    garbled: counts.garbled,
    exceptions: counts.exceptions,
    late_replies: counts.lateReplies,
    round_trip_p50_ms: rounded(counts.roundTripP50Ms),
    round_trip_p99_ms: rounded(counts.roundTripP99Ms),
    load_percent: Math.round(counts.loadPercent * 10) / 10,
    units: units.map(({ device, unit, map }) => {
      const now = bus.unit(unit);
      return {
        ...{ device, unit, map: map.name, model: map.model },
        online: now?.isOnline ?? false,
        answers: now?.counts.answers ?? 0,
        unanswered: now?.counts.unanswered ?? 0,
        problems: Object.fromEntries(now?.counts.problems ?? []),
      };
    }),
  };
};

const rounded = (ms: number | null): number | null =>
  ms === null ? null : Math.round(ms * 10) / 10;

const problemOf = (
  outcome: Exclude<ModbusOutcome, { type: 'answer' }>,
  bus: string,
): { readonly problem: string; readonly next: string } => {
  if (outcome.type === 'exception') {
    const next =
      outcome.code === 2
        ? 'it is there, but has no such register: manuals that begin at 1 or 40001 name it one higher than it travels'
        : 'it is there: look up in its manual what it has at this address';
    return { problem: exceptionText(outcome.code), next };
  }
  return outcome.isGarbled
    ? {
        problem: 'what came back is no answer',
        next: 'look at baud rate, parity, and whether A and B are swapped or two units have one number',
      }
    : {
        problem: 'no answer',
        next: `look at its power, unit number, wiring (A and B) and baud rate; holdfast --gateway modbus scan ${bus} shows who answers`,
      };
};

const saidOf = (outcome: ModbusOutcome): string => {
  if (outcome.type === 'answer') return 'an answer';
  if (outcome.type === 'exception') return exceptionText(outcome.code);
  return 'something that is no answer';
};

const wordsOf = (bytes: Buffer): number[] =>
  Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readUInt16BE(i * 2));

const bitsOf = (bytes: Buffer, count: number): number[] =>
  Array.from({ length: count }, (_, i) => ((bytes[i >> 3] ?? 0) >> (i & 7)) & 1);

const kindOf = (text: string): RegisterKind => {
  const kind = registerKinds.find((one) => one === text);
  if (kind !== undefined) return kind;
  throw new HoldfastError('REQUEST_INVALID', `kind must be one of ${registerKinds.join(', ')}`);
};

const numberOf = (
  query: URLSearchParams,
  name: string,
  least: number,
  most: number,
  usual?: number,
): number => {
  const text = query.get(name);
  if (text === null && usual !== undefined) return usual;
  const value = text === null || !/^\d{1,6}$/.test(text) ? Number.NaN : Number(text);
  if (value >= least && value <= most) return value;
  throw new HoldfastError('REQUEST_INVALID', `${name} must be a number from ${least} to ${most}`);
};

const notFound = (message: string): HoldfastError =>
  new HoldfastError('RESOURCE_NOT_FOUND', message, {
    data: { next: 'holdfast --gateway modbus status' },
  });
