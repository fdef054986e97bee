/** The driver of Modbus, RTU or TCP: as many units on a line as there are numbers, each with the map of its model. */
import { randomInt } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import * as v from 'valibot';
import { wireMs } from '../serial/port/port-settings.js';
import type {
  DriverDevice,
  DriverLine,
  DriverLineCounts,
  SerialCommand,
  SerialDriver,
  SerialHandlers,
  SerialJob,
} from '../serial/serial-driver.js';
import { type Framing, rtuFraming, TcpFraming } from './framing.js';
import { ModbusBus } from './modbus-bus.js';
import { ModbusClient } from './modbus-client.js';
import { ModbusUnit } from './modbus-unit.js';
import { type RegisterMap, readMap, registerMapSchema } from './register-map.js';
import { systemTimers, type Timers } from './timers.js';

export const modbusTimeoutMs = v.pipe(v.number(), v.integer(), v.minValue(20), v.maxValue(60_000));

export const modbusOptions = v.optional(
  v.strictObject({
    /** How frames stand on the wire: `rtu` also for a converter that hands a serial bus through. */
    framing: v.optional(v.picklist(['rtu', 'tcp'], 'must be rtu or tcp'), 'rtu'),
    /** Whether the other end is reached by TCP, where characters take no time of ours. */
    isNetwork: v.optional(v.boolean(), false),
    /** How long a unit may think. */
    timeoutMs: v.optional(modbusTimeoutMs, 500),
  }),
  {},
);
export type ModbusOptions = v.InferOutput<typeof modbusOptions>;

/** 0 is everybody, and has no answer; by TCP there are units that are 255. */
export const unitNumber = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(255));

const unitSettings = v.strictObject({ unit: unitNumber, map: registerMapSchema });

export interface ModbusDriverDeps {
  readonly timers?: Timers;
  /** Told of each bus that is made, by the name of its line. */
  readonly onBus?: (name: string, bus: ModbusBus) => void;
}

export const createModbusDriver = ({
  timers = systemTimers,
  onBus,
}: ModbusDriverDeps = {}): SerialDriver<ModbusOptions> => ({
  name: 'modbus',
  options: modbusOptions,
  attach(line, devices, { framing, isNetwork, timeoutMs }) {
    const wrong = (message: string): HoldfastError =>
      new HoldfastError('CONFIGURATION_INVALID', `line ${line.name}: ${message}`);
    if (devices.length === 0) throw wrong('a bus needs a unit');
    const numbers = new Set<number>();
    const units = devices.map((device) => {
      const { unit, map } = settingsOf(device, wrong);
      if (numbers.has(unit)) throw wrong(`two devices are unit ${unit}`);
      numbers.add(unit);
      const isNumbered = framing === 'tcp';
      const options = { device: device.id, unit, map, isNumbered, timeoutMs };
      return { unit: new ModbusUnit(device.handlers, timers, options), device };
    });
    const bus = new ModbusBus(
      timers,
      units.map(({ unit }) => unit),
      { timeoutMs },
    );
    onBus?.(line.name, bus);
    const state: LineStateHolder = { error: new HoldfastError('SERIAL_LINE_DOWN', 'It is away') };
    line.listen({
      isDialogue: true,
      up: (port) => {
        state.error = null;
        const spoken: Framing = framing === 'tcp' ? new TcpFraming(randomInt(65_536)) : rtuFraming;
        const characterMs = isNetwork ? 0 : wireMs(1, line.settings);
        const { statistics } = bus;
        bus.begin(new ModbusClient({ port, framing: spoken, timers, statistics }, { characterMs }));
      },
      down: (reason) => {
        state.error = new HoldfastError('SERIAL_LINE_DOWN', reason);
        bus.end(reason);
      },
      suspended: (reason) => {
        state.error = new HoldfastError('SERIAL_LINE_BUSY', reason);
        bus.end(reason);
      },
    });
    return units.map(({ unit, device }) => new ModbusDevice(unit, bus, device.handlers, state));
  },
});

/** As a line of `serial.lines` names it. */
export const modbus: SerialDriver<ModbusOptions> = createModbusDriver();

const settingsOf = (
  { id, settings }: DriverDevice,
  wrong: (message: string) => HoldfastError,
): { readonly unit: number; readonly map: RegisterMap } => {
  const given = v.safeParse(unitSettings, settings);
  if (given.success) return { unit: given.output.unit, map: readMap(given.output.map) };
  const [issue] = given.issues;
  const where = v.getDotPath(issue);
  throw wrong(`settings${where === null ? '' : `.${where}`} of ${id}: ${issue.message}`);
};

interface LineStateHolder {
  /** Why nothing can be sent. */
  error: HoldfastError | null;
}

/** A unit, to its door. */
class ModbusDevice implements DriverLine {
  readonly #unit: ModbusUnit;
  readonly #bus: ModbusBus;
  readonly #handlers: SerialHandlers;
  readonly #line: LineStateHolder;

  constructor(unit: ModbusUnit, bus: ModbusBus, handlers: SerialHandlers, line: LineStateHolder) {
    this.#unit = unit;
    this.#bus = bus;
    this.#handlers = handlers;
    this.#line = line;
  }

  get isOnline(): boolean {
    return this.#unit.isOnline;
  }

  get counts(): DriverLineCounts {
    const { answers, unanswered, problems } = this.#unit.counts;
    const others = { answers, unanswered, problems: problems.size };
    return { droppedFrames: 0, discardedBytes: 0, others };
  }

  async close(): Promise<void> {
    await this.#bus.close('the line was closed');
  }

  async sendDelta(state: JsonObject): Promise<void> {
    if (this.#line.error !== null) throw this.#line.error;
    if (!this.isOnline) {
      throw new HoldfastError('SERIAL_LINE_DOWN', 'The unit does not answer');
    }
    this.#unit.want(state);
  }

  /** A write that waits for its turn would set back what is desired by now, if only for a moment. */
  withdrawDelta(): void {
    this.#unit.want({});
  }

  async sendCommand({ command_id }: SerialCommand): Promise<void> {
    const error = 'a unit of a Modbus has no commands; set its registers by what is desired of it';
    await this.#handlers.response({ command_id, status: 'rejected', error });
  }

  async sendJob({ job_id }: SerialJob): Promise<void> {
    const error = 'a unit of a Modbus can not be updated from here';
    await this.#handlers.jobStatus({ job_id, status: 'rejected', error });
  }

  refuse(error: HoldfastError): void {
    this.#unit.refuse(error.message);
  }
}
