/** Every serial port of a gateway in one table, and what to do about the lines that are down. */
import type {
  LineFlashRow,
  SerialAnswer,
  SerialLineRow,
  SerialPortRow,
} from '@holdfast/protos/local/serial';
import { bytes as bytesText, type Terminal } from '../../terminal.js';
import { progressText } from './line-text.js';

interface Row {
  readonly port: SerialPortRow | undefined;
  readonly line: SerialLineRow | undefined;
}

export const showSerial = (terminal: Terminal, answer: SerialAnswer): void => {
  terminal.json(answer);
  if (terminal.isJson) return;
  const { lines, ports } = answer;
  const found = new Set(ports.flatMap(({ line }) => line ?? []));
  const rows: Row[] = [
    ...ports.map((port) => ({ port, line: lines.find(({ name }) => name === port.line) })),
    ...lines.filter(({ name }) => !found.has(name)).map((line) => ({ port: undefined, line })),
  ];
  terminal.table(
    rows,
    [
      { title: 'PORT', value: ({ port, line }) => port?.path ?? line?.path ?? line?.address },
      { title: 'USB', value: ({ port }) => usbText(port) },
      { title: 'LINE', value: ({ line }) => line?.name },
      { title: 'DRIVER', value: ({ line }) => line?.driver },
      { title: 'STATE', value: stateOf, colour: colourOf },
      { title: 'IN', value: ({ line }) => line && bytesText(line.bytes_in) },
      { title: 'OUT', value: ({ line }) => line && bytesText(line.bytes_out) },
      { title: 'DROPPED', value: ({ line }) => line && droppedText(line) },
    ],
    'There is no serial port, and no line is configured (serial.lines in the site file)',
  );
  for (const { device, flash } of lines.flatMap(({ devices }) => devices)) {
    if (flash === null || (flash.phase === 'idle' && flash.trouble === null)) continue;
    const what = flash.version === null ? '' : ` ${flash.version} for ${flash.by}`;
    const how = flash.trouble === null ? '' : `: ${flash.trouble}`;
    terminal.line(`${device}: ${flashTexts[flash.phase]}${what}${how}`);
  }
  for (const { name, state, reason, next } of lines) {
    if (state !== 'down' || reason === null) continue;
    terminal.line(`${terminal.paint('red', '✗')} ${name}: ${reason}`);
    if (next !== null) terminal.line(`  next: ${next}`);
  }
};

const flashTexts: Readonly<Record<LineFlashRow['phase'], string>> = {
  idle: 'was not flashed',
  checking: 'is to be flashed with',
  waiting: 'waits to be flashed with',
  writing: 'is flashed with',
  proving: 'was flashed, and has to say hello, with',
  restoring: 'was mute, and gets back',
  returning: 'was mute, and has to say hello with',
  settled: 'was not flashed',
};

const usbText = (port: SerialPortRow | undefined): string | undefined => {
  if (port?.usb == null) return undefined;
  const name = port.address.replace(/^usb /, '');
  return port.usb.title === '' ? name : `${name} ${port.usb.title}`;
};

const stateOf = ({ line }: Row): string => {
  if (line === undefined) return 'not used';
  const { state, reason, progress, devices } = line;
  if (state === 'down') return 'down';
  if (state === 'suspended') {
    const how = progress === null ? '' : ` (${progressText(progress)})`;
    return `${reason ?? 'in use'}${how}`;
  }
  const silent = devices.filter(({ online }) => !online).length;
  if (silent === 0) return 'up';
  return devices.length === 1 ? 'up, silent' : `up, ${silent} of ${devices.length} silent`;
};

const colourOf = ({ line }: Row) => {
  if (line === undefined) return 'dim';
  if (line.state === 'down') return 'red';
  return line.state === 'suspended' || line.devices.some(({ online }) => !online)
    ? 'yellow'
    : 'green';
};

/** Frames that were none, and the bytes of noise. */
const droppedText = ({ devices }: SerialLineRow): string => {
  const frames = devices.reduce((sum, one) => sum + one.dropped_frames, 0);
  const bytes = devices.reduce((sum, one) => sum + one.discarded_bytes, 0);
  return frames + bytes === 0 ? '0' : `${frames} (${bytesText(bytes)} noise)`;
};
