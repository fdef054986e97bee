/** What a person or a program sees of a command: tables and colours where a terminal is, JSON where it was asked for. */
import { styleText } from 'node:util';
import Table from 'cli-table3';

export interface OutputStream {
  readonly isTTY?: boolean | undefined;
  /** Of a terminal: how many characters a line holds. */
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export interface TerminalOptions {
  readonly out: OutputStream;
  readonly error: OutputStream;
  readonly isJson: boolean;
  /** The environment, for NO_COLOR (https://no-color.org). */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

type Colour = 'green' | 'red' | 'yellow' | 'cyan' | 'dim' | 'bold';

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string | number | undefined;
  readonly colour?: (row: T) => Colour | undefined;
}

export class Terminal {
  readonly isJson: boolean;
  readonly error: OutputStream;
  readonly #out: OutputStream;
  readonly #environment: TerminalOptions['environment'];

  constructor(options: TerminalOptions) {
    this.isJson = options.isJson;
    this.error = options.error;
    this.#out = options.out;
    this.#environment = options.environment;
  }

  /** Whether progress may be drawn over itself on the error stream. */
  get isInteractive(): boolean {
    return this.error.isTTY === true && !this.isJson;
  }

  /** Whether a person looks at what is written. */
  get isTerminal(): boolean {
    return this.#out.isTTY === true && !this.isJson;
  }

  get hasColours(): boolean {
    return this.#out.isTTY === true && (this.#environment.NO_COLOR ?? '') === '';
  }

  /** What of a text fits one line of the error stream. */
  fit(text: string): string {
    const columns = this.error.columns ?? 80;
    return text.length < columns ? text : `${text.slice(0, columns - 2)}…`;
  }

  line(text = ''): void {
    if (!this.isJson) this.#out.write(`${text}\n`);
  }

  /** One JSON value on one line, for programs; nothing for people. */
  json(value: unknown): void {
    if (this.isJson) this.#out.write(`${JSON.stringify(value, plainJson)}\n`);
  }

  paint(colour: Colour, text: string): string {
    return this.hasColours ? styleText(colour, text) : text;
  }

  /** A table for people; the rows as they are for programs. `empty` says what to do when there is nothing. */
  table<T>(rows: readonly T[], columns: readonly Column<T>[], empty: string): void {
    this.json(rows);
    if (this.isJson) return;
    if (rows.length === 0) {
      this.line(this.paint('dim', empty));
      return;
    }
    const table = new Table({
      head: columns.map((column) => this.paint('bold', column.title)),
      style: { head: [], border: [], compact: true },
      chars: borderless,
    });
    for (const row of rows) {
      table.push(
        columns.map((column) => {
          const text = String(column.value(row) ?? '–');
          const colour = column.colour?.(row);
          return colour === undefined ? text : this.paint(colour, text);
        }),
      );
    }
    this.line(table.toString());
  }

  /** One thing: its fields under each other for people, itself for programs. */
  fields(
    value: unknown,
    fields: readonly (readonly [string, string | number | undefined])[],
  ): void {
    this.json(value);
    const width = Math.max(0, ...fields.map(([name]) => name.length));
    for (const [name, text] of fields) {
      this.line(`${this.paint('dim', name.padEnd(width))}  ${text ?? '–'}`);
    }
  }
}

const borderless = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' ',
};

/** 64-bit counts are decimal strings in JSON only where a double can't hold them. */
const plainJson = (_key: string, value: unknown): unknown => {
  if (typeof value !== 'bigint') return value;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
};

/** How long ago, as a person says it. */
export const ago = (time: Date | undefined, now: number): string => {
  if (time === undefined) return 'never';
  const seconds = Math.max(0, Math.round((now - time.getTime()) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
};

/** A number of bytes, as a person says it (powers of 1,000). */
export const bytes = (count: number): string => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
};
