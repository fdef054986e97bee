/** A list of devices that are to come, as CSV: `id` and `model`, if wished `site` and `serial_no`; every other column is a label. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { type CsvRecord, parseCsv } from './csv.js';

export interface ListedDevice {
  readonly line: number;
  /** undefined where the list names none. */
  readonly site: string | undefined;
  readonly device: string;
  readonly model: string;
  readonly serialNo: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A line that cannot be used, and what to do about it. */
export interface BadLine {
  readonly line: number;
  readonly device: string;
  readonly problem: string;
  readonly next: string;
}

export interface DeviceList {
  readonly devices: readonly ListedDevice[];
  readonly bad: readonly BadLine[];
}

const known = ['id', 'model', 'site', 'serial_no'] as const;
type Column = (typeof known)[number];
const needed: readonly Column[] = ['id', 'model'];
const mostDevices = 100_000;

/** Errors: REQUEST_INVALID when it is no list of devices at all: no header, or a column twice. */
export const parseDeviceList = (text: string): DeviceList => {
  const [header, ...records] = parseCsv(text);
  const names = (header?.fields ?? []).map((name) => name.trim());
  for (const column of needed) {
    if (!names.includes(column)) {
      throw new HoldfastError(
        'REQUEST_INVALID',
        `the first line has to name the columns, and names no ${column}: begin the file with id,model`,
      );
    }
  }
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new HoldfastError('REQUEST_INVALID', `the column '${twice}' stands there twice`);
  }
  if (records.length > mostDevices) {
    throw new HoldfastError('REQUEST_INVALID', `at most ${mostDevices} devices in one file`);
  }
  const devices: ListedDevice[] = [];
  const bad: BadLine[] = [];
  const lineOf = new Map<string, number>();
  for (const record of records) {
    const listed = readRecord(record, names, lineOf);
    if ('problem' in listed) bad.push(listed);
    else devices.push(listed);
  }
  return { devices, bad };
};

const readRecord = (
  { line, fields }: CsvRecord,
  names: readonly string[],
  lineOf: Map<string, number>,
): ListedDevice | BadLine => {
  const values = new Map(names.map((name, index) => [name, fields[index] ?? '']));
  const value = (column: Column) => values.get(column) ?? '';
  const device = value('id');
  const site = value('site');
  const bad = (problem: string, next: string): BadLine => ({ line, device, problem, next });
  if (fields.length > names.length) {
    return bad(
      `it has ${fields.length} fields, and there are ${names.length} columns`,
      'put fields that hold a separator in quotes',
    );
  }
  if (device === '') return bad('it names no device', 'fill in the column id');
  if (!isDeviceId(device)) {
    return bad(`'${device}' is no device id`, 'use 1 to 64 of letters, digits, _ and -');
  }
  if (value('model') === '') return bad('it names no model', 'fill in the column model');
  if (site !== '' && !isDeviceId(site)) {
    return bad(`'${site}' is no site`, 'see: holdfast site list');
  }
  const key = `${site}/${device}`;
  const first = lineOf.get(key);
  if (first !== undefined)
    return bad(`${device} stands in line ${first} too`, 'remove one of them');
  lineOf.set(key, line);
  const isLabel = (name: string) => !known.some((column) => column === name) && name !== '';
  return {
    line,
    device,
    site: site || undefined,
    model: value('model'),
    serialNo: value('serial_no'),
    labels: Object.fromEntries([...values].filter(([name, text]) => isLabel(name) && text !== '')),
  };
};
