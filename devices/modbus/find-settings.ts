/** Finds out how fast a unit speaks, and with what parity, by asking it in every way that meters are known for; the usual ones first. */
import type { BytePort } from '../serial/port/byte-port.js';
import { type PortSettings, usualSettings, wireMs } from '../serial/port/port-settings.js';
import { BusStatistics } from './bus-statistics.js';
import { rtuFraming } from './framing.js';
import { ModbusClient } from './modbus-client.js';
import { exceptionText, type ReadRequest } from './modbus-request.js';
import type { Timers } from './timers.js';

export interface FoundSettings {
  readonly settings: PortSettings;
  readonly said: string;
}

export interface FindSettingsOptions {
  readonly unit: number;
  /** How long it may think. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const baudRates = [9_600, 19_200, 2_400, 38_400, 115_200, 4_800, 57_600, 1_200];

const waysToSpeak: readonly PortSettings[] = (['none', 'even', 'odd'] as const).flatMap((parity) =>
  baudRates.map((baudRate) => ({ ...usualSettings, baudRate, parity })),
);

/** Null when it answers to none. The port keeps the settings that were tried last. SERIAL_LINE_DOWN; the signal's reason. */
export const findSettings = async (
  { port, timers }: { readonly port: BytePort; readonly timers: Timers },
  { unit, timeoutMs, signal }: FindSettingsOptions,
): Promise<FoundSettings | null> => {
  const request: ReadRequest = { type: 'read', unit, kind: 'holding', address: 0, count: 1 };
  for (const settings of waysToSpeak) {
    signal.throwIfAborted();
    await port.change(settings);
    const statistics = new BusStatistics(timers);
    const client = new ModbusClient(
      { port, framing: rtuFraming, timers, statistics },
      { characterMs: wireMs(1, settings) },
    );
    const outcome = await client.ask(request, timeoutMs);
    if (outcome.type === 'answer') return { settings, said: 'an answer' };
    if (outcome.type === 'exception') return { settings, said: exceptionText(outcome.code) };
  }
  return null;
};
