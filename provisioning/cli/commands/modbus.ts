/** `holdfast --gateway modbus`: how the buses of a site do, and what is found on them with a meter in front of one and no manual. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type ModbusBusRow,
  type ModbusProbeAnswer,
  type ModbusSettingsAnswer,
  modbusAnswer,
  modbusProbeAnswer,
  modbusReadAnswer,
  modbusScanAnswer,
  modbusSettingsAnswer,
} from '@holdfast/protos/local/modbus';
import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import * as v from 'valibot';
import type { CommandContext } from '../context.js';
import type { GatewayClient } from '../gateway-client.js';
import type { Terminal } from '../terminal.js';

const kinds = ['coil', 'discrete', 'holding', 'input'];
/** What the gateway looks for in one answer. */
const unitsAtOnce = 16;

export const addModbusCommands = (program: Command, context: () => CommandContext): void => {
  const ask = async (): Promise<GatewayClient> => {
    const { gateway, asksGateway } = context();
    if (asksGateway) return gateway();
    throw new HoldfastError('REQUEST_INVALID', 'only a gateway has buses to ask', {
      data: { next: 'holdfast --gateway modbus status' },
    });
  };

  const modbus = program
    .command('modbus')
    .description('the Modbus of a site, and what stands on it (with --gateway)');

  modbus
    .command('status')
    .description('how each bus does, and its units')
    .action(async () => {
      const { buses } = v.parse(modbusAnswer, await (await ask()).get('/modbus'));
      const { terminal } = context();
      terminal.json({ buses });
      if (terminal.isJson) return;
      if (buses.length === 0) terminal.line('no bus: modbus.buses of site.yaml names them');
      for (const bus of buses) showBus(terminal, bus);
    });

  modbus
    .command('scan <bus>')
    .description('which unit numbers answer on a bus; its polling goes on in between')
    .option('--from <unit>', 'the first number', wholeNumber(1, 247), 1)
    .option('--to <unit>', 'the last', wholeNumber(1, 247), 247)
    .option('--timeout <ms>', 'how long each may take', wholeNumber(20, 1_000), 200)
    .addOption(new Option('--kind <kind>', 'what is read').choices(kinds).default('holding'))
    .option('--address <address>', 'of what is read, from 0', wholeNumber(0, 65_535), 0)
    .action(async (bus: string, options: ScanOptions) =>
      scan(context(), await ask(), bus, options),
    );

  modbus
    .command('read <device> [register]')
    .description('what the registers of its map hold now')
    .action(async (device: string, register?: string) => {
      const query = register === undefined ? '' : `?name=${encodeURIComponent(register)}`;
      const path = `/modbus/devices/${encodeURIComponent(device)}/registers${query}`;
      const { registers } = v.parse(modbusReadAnswer, await (await ask()).get(path));
      context().terminal.table(
        registers,
        [
          { title: 'REGISTER', value: (one) => one.name },
          { title: 'AT', value: (one) => `${one.kind} ${one.address}` },
          { title: 'VALUE', value: (one) => (one.value === null ? undefined : `${one.value}`) },
          { title: 'UNIT', value: (one) => one.unit },
          { title: 'PROBLEM', value: (one) => one.problem ?? '', colour: () => 'red' },
        ],
        'its map has no registers',
      );
    });

  modbus
    .command('settings')
    .description('at which baud rate and parity a unit answers; the bus is not polled meanwhile')
    .argument('<bus>', 'its name')
    .argument('<unit>', 'its number', wholeNumber(1, 247))
    .action(async (bus: string, unit: number) => {
      const path = `/modbus/buses/${encodeURIComponent(bus)}/settings`;
      const answer = await (await ask()).post(path, { unit });
      showSettings(context().terminal, bus, v.parse(modbusSettingsAnswer, answer));
    });

  modbus
    .command('probe')
    .description('what some registers hold, read in every type and every order of bytes')
    .argument('<bus>', 'its name')
    .argument('<unit>', 'its number')
    .addArgument(new Argument('<kind>', 'of the registers').choices(kinds))
    .argument('<address>', 'of the first, from 0: what a manual calls 30001 or 40001 is 0')
    .option('--count <registers>', 'how many', wholeNumber(1, 64), 4)
    .action(
      async (
        bus: string,
        unit: string,
        kind: string,
        address: string,
        { count }: { readonly count: number },
      ) => {
        const query = new URLSearchParams({ unit, kind, address, count: String(count) });
        const path = `/modbus/buses/${encodeURIComponent(bus)}/probe?${query.toString()}`;
        showProbe(context().terminal, v.parse(modbusProbeAnswer, await (await ask()).get(path)));
      },
    );
};

const showSettings = (
  terminal: Terminal,
  bus: string,
  { found, configured }: ModbusSettingsAnswer,
): void => {
  terminal.json({ found, configured });
  const textOf = (one: { readonly baud_rate: number; readonly parity: string }): string =>
    `baudRate: ${one.baud_rate}, parity: ${one.parity}`;
  if (found === null) {
    terminal.line(terminal.paint('red', 'it answers to none of the usual settings'));
    terminal.line(
      '  next: look at power and wiring (A and B); its number may be another, or its address 0 silent',
    );
    return;
  }
  terminal.line(`${textOf(found)} (it said: ${found.said})`);
  const isSame = textOf(found) === textOf(configured);
  terminal.line(
    isSame
      ? terminal.paint('green', `as ${bus} is configured`)
      : terminal.paint(
          'yellow',
          `  next: ${bus} is configured for ${textOf(configured)}; change one of the two`,
        ),
  );
};

interface ScanOptions {
  readonly from: number;
  readonly to: number;
  readonly timeout: number;
  readonly kind: string;
  readonly address: number;
}

const scan = async (
  { terminal, signal }: CommandContext,
  gateway: GatewayClient,
  bus: string,
  { from, to, timeout, kind, address }: ScanOptions,
): Promise<void> => {
  if (from > to) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `--from ${from} is beyond --to ${to}: nobody is asked`,
    );
  }
  const found: { unit: number; device: string | null; said: string }[] = [];
  for (let first = from; first <= to && !signal.aborted; first += unitsAtOnce) {
    const last = Math.min(to, first + unitsAtOnce - 1);
    if (terminal.isInteractive) terminal.error.write(`\rasking ${first} to ${last} …   `);
    const query = new URLSearchParams({
      ...{ from: String(first), to: String(last), timeout_ms: String(timeout), kind },
      address: String(address),
    });
    const path = `/modbus/buses/${encodeURIComponent(bus)}/scan?${query.toString()}`;
    found.push(...v.parse(modbusScanAnswer, await gateway.get(path)).found);
  }
  if (terminal.isInteractive) terminal.error.write('\r\x1b[K');
  terminal.table(
    found,
    [
      { title: 'UNIT', value: ({ unit }) => unit },
      { title: 'DEVICE', value: ({ device }) => device ?? 'none yet' },
      { title: 'SAID', value: ({ said }) => said },
    ],
    'nobody answers: look at power, wiring (A and B), baud rate and parity of the bus',
  );
};

const showBus = (terminal: Terminal, bus: ModbusBusRow): void => {
  const { name, address, state, reason, next } = bus;
  const how = state === 'up' ? terminal.paint('green', 'up') : terminal.paint('red', state);
  terminal.line(
    `${terminal.paint('bold', name)}  ${address}  ${how}${reason ? `: ${reason}` : ''}`,
  );
  if (next !== null) terminal.line(`  next: ${next}`);
  const { requests, answers, timeouts, garbled, late_replies: late } = bus;
  const exceptions = Object.entries(bus.exceptions).map(
    ([code, count]) => `${count} of code ${code}`,
  );
  const said = exceptions.length === 0 ? 'no exceptions' : `exceptions: ${exceptions.join(', ')}`;
  terminal.line(
    `  ${requests} requests, ${answers} answers, ${timeouts} without, ${garbled} garbled, ${late} too late, ${said}`,
  );
  const { round_trip_p50_ms: p50, round_trip_p99_ms: p99, load_percent: load } = bus;
  if (p50 !== null) {
    terminal.line(`  round trip ${p50} ms, 99 % within ${p99 ?? p50} ms, load ${load} %`);
  }
  terminal.table(
    bus.units,
    [
      { title: '  UNIT', value: ({ unit }) => `  ${unit}` },
      { title: 'DEVICE', value: ({ device }) => device },
      { title: 'MODEL', value: ({ model }) => model },
      {
        title: 'STATE',
        value: ({ online }) => (online ? 'online' : 'silent'),
        colour: ({ online }) => (online ? 'green' : 'red'),
      },
      {
        title: 'ANSWERS',
        value: ({ answers, unanswered }) => `${answers} of ${answers + unanswered}`,
      },
      {
        title: 'PROBLEMS',
        value: ({ problems }) =>
          Object.entries(problems)
            .map(([register, why]) => `${register}: ${why}`)
            .join('; '),
        colour: () => 'yellow',
      },
    ],
    '  no units',
  );
};

const showProbe = (terminal: Terminal, answer: ModbusProbeAnswer): void => {
  terminal.json(answer);
  if (terminal.isJson) return;
  const { problem, next, words, readings } = answer;
  if (problem !== null) {
    terminal.line(terminal.paint('red', problem));
    if (next !== null) terminal.line(`  next: ${next}`);
    return;
  }
  if (readings.length === 0) {
    terminal.line(words.join(' '));
    return;
  }
  terminal.line(words.map((word) => word.toString(16).padStart(4, '0')).join(' '));
  const types = [...new Set(readings.map(({ type }) => type))];
  const orders = [...new Set(readings.map(({ byte_order }) => byte_order))];
  const text = (type: string, order: string): string | undefined => {
    const found = readings.find((one) => one.type === type && one.byte_order === order);
    if (found === undefined) return '';
    return found.value === null ? undefined : String(found.value);
  };
  terminal.table(
    types,
    [
      { title: 'TYPE', value: (type) => type },
      ...orders.map((order) => ({ title: order, value: (type: string) => text(type, order) })),
    ],
    'nothing',
  );
};

const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`a number from ${least} to ${most} is wanted`);
  };
