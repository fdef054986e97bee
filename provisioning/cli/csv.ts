/** Comma-separated values (RFC 4180), as spreadsheets write them: `,` or `;`, quotes, any end of line, a byte-order mark. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export interface CsvRecord {
  /** The line it begins at, from 1. */
  readonly line: number;
  readonly fields: readonly string[];
}

/** Blank lines are left out. Errors: REQUEST_INVALID, with the line, for a quote that is not closed or stands where none may. */
export const parseCsv = (text: string): CsvRecord[] => {
  const source = text.replace(/^\ufeff/, '');
  const separator = separatorOf(source);
  const records: CsvRecord[] = [];
  let line = 1;
  let at = 0;
  while (at < source.length) {
    const record: string[] = [];
    const begun = line;
    let isOver = false;
    while (!isOver) {
      const field = source[at] === '"' ? quoted(source, at, line) : bare(source, at, separator);
      record.push(field.value);
      line += field.lines;
      at = field.end;
      if (source[at] === separator) at += 1;
      else isOver = true;
    }
    if (source[at] === '\r') at += 1;
    if (source[at] === '\n') at += 1;
    else if (at < source.length && source[at - 1] !== '\r') {
      throw invalid(line, 'something stands between a closing quote and the next separator');
    }
    line += 1;
    if (record.length > 1 || record[0] !== '') records.push({ line: begun, fields: record });
  }
  return records;
};

/** One line, quoted where it has to be. A field that a spreadsheet would compute is written so that it does not. */
export const csvLine = (fields: readonly string[]): string => `${fields.map(quote).join(',')}\r\n`;

const quote = (field: string): string => {
  const safe = /^[=+\-@\t\r]/.test(field) ? `'${field}` : field;
  return /[",;\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** Spreadsheets of half the world write `;`: whichever the first line has more of. */
const separatorOf = (source: string): string => {
  const [first = ''] = source.split(/[\r\n]/, 1);
  return first.split(';').length > first.split(',').length ? ';' : ',';
};

interface Field {
  readonly value: string;
  readonly end: number;
  /** Line ends within. */
  readonly lines: number;
}

const bare = (source: string, start: number, separator: string): Field => {
  let end = start;
  while (end < source.length && source[end] !== separator && !/[\r\n]/.test(source[end] ?? '')) {
    end += 1;
  }
  return { value: source.slice(start, end).trim(), end, lines: 0 };
};

const quoted = (source: string, start: number, line: number): Field => {
  let value = '';
  let at = start + 1;
  for (;;) {
    const close = source.indexOf('"', at);
    if (close < 0) throw invalid(line, 'a quote is opened and never closed');
    value += source.slice(at, close);
    at = close + 1;
    if (source[at] !== '"') break;
    value += '"';
    at += 1;
  }
  return { value, end: at, lines: value.split('\n').length - 1 };
};

const invalid = (line: number, why: string) =>
  new HoldfastError('REQUEST_INVALID', `line ${line}: ${why}`);
