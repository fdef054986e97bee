/** Bytes of a line as people read them: lines of text put together again, bytes in hexadecimal beside what they would be as text. */
export type MonitorView = 'text' | 'hex' | 'either';

type Direction = 'in' | 'out';

interface Begun {
  readonly at: number;
  bytes: Buffer;
}

const newline = 0x0a;
/** A line of text that is longer is shown in parts. */
const longestText = 1_024;
const bytesPerRow = 16;

export class PassageText {
  readonly #view: MonitorView;
  /** What came of a line that has not ended. */
  readonly #begun = new Map<Direction, Begun>();

  constructor({ view }: { readonly view: MonitorView }) {
    this.#view = view;
  }

  /** Gives what can be shown now. What a direction began is shown before the other speaks. */
  add(direction: Direction, bytes: Buffer, at: number): string[] {
    const shown = this.#end(direction === 'in' ? 'out' : 'in');
    const begun = this.#begun.get(direction);
    if (this.#isHex(bytes) && begun === undefined)
      return [...shown, ...hexRows(direction, bytes, at)];
    let { bytes: rest, at: since } = begun ?? { bytes: Buffer.alloc(0), at };
    rest = Buffer.concat([rest, bytes]);
    for (;;) {
      const end = rest.indexOf(newline);
      if (end === -1 && rest.length < longestText) break;
      const length = end === -1 ? longestText : end + 1;
      shown.push(...this.#show(direction, rest.subarray(0, length), since));
      rest = rest.subarray(length);
      since = at;
    }
    if (rest.length === 0) this.#begun.delete(direction);
    else this.#begun.set(direction, { at: since, bytes: rest });
    return shown;
  }

  /** What was begun and may never end. */
  rest(): string[] {
    return [...this.#end('in'), ...this.#end('out')];
  }

  #end(direction: Direction): string[] {
    const begun = this.#begun.get(direction);
    if (begun === undefined) return [];
    this.#begun.delete(direction);
    return this.#show(direction, begun.bytes, begun.at);
  }

  #show(direction: Direction, bytes: Buffer, at: number): string[] {
    return this.#isHex(bytes) ? hexRows(direction, bytes, at) : [textRow(direction, bytes, at)];
  }

  #isHex(bytes: Buffer): boolean {
    return this.#view === 'hex' || (this.#view === 'either' && !isText(bytes));
  }
}

const head = (direction: Direction, at: number): string =>
  `${new Date(at).toISOString().slice(11, 23)} ${direction === 'in' ? '←' : '→'}`;

/** Nothing of it moves the cursor or rings a bell: what a terminal would obey is written out. */
const textRow = (direction: Direction, bytes: Buffer, at: number): string => {
  const text = bytes.toString('utf8').replace(/\r?\n$/, '');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is written out
  return `${head(direction, at)} ${text.replaceAll(/[\x00-\x1f\x7f-\x9f\ufffd\u202a-\u202e\u2066-\u2069]/g, escaped)}`;
};

const escaped = (character: string): string =>
  character === '\t' ? '  ' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;

const hexRows = (direction: Direction, bytes: Buffer, at: number): string[] => {
  const rows: string[] = [];
  for (let from = 0; from < bytes.length; from += bytesPerRow) {
    const row = bytes.subarray(from, from + bytesPerRow);
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = [...row]
      .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·'))
      .join('');
    const begin = from === 0 ? head(direction, at) : ' '.repeat(14);
    rows.push(`${begin} ${hex.padEnd(bytesPerRow * 3 - 1)}  ${text}`);
  }
  return rows;
};

/** UTF-8 without control characters but those that end and space lines; a piece may begin or end within a character. */
const isText = (bytes: Buffer): boolean => {
  for (const byte of bytes) {
    if (byte === 0x0a || byte === 0x0d || byte === 0x09) continue;
    if (byte < 0x20 || byte === 0x7f) return false;
  }
  const whole = bytes.toString('utf8').replaceAll(/^\ufffd{1,3}|\ufffd{1,3}$/g, '');
  return whole !== '' && !whole.includes('\ufffd');
};
