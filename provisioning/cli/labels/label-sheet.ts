/** Sheets of labels, one a code: its QR code, what it is for, and the code itself for whoever has to type it. */
import { type QrCode, qrOfClaim, quietModules } from '../qr-code.js';
import type { Font, Line, Page, Shape } from './drawing.js';

export interface Label {
  readonly code: string;
  readonly site: string;
  /** Empty where the code leaves it to the device. */
  readonly device: string;
  readonly model: string;
  readonly expires: Date | undefined;
}

/** Every length in mm. */
export interface SheetFormat {
  readonly page: { readonly width: number; readonly height: number };
  readonly label: { readonly width: number; readonly height: number };
  readonly columns: number;
  readonly rows: number;
  /** From the left edge of a label to that of the next, and the upper edge likewise. */
  readonly pitch: { readonly x: number; readonly y: number };
  readonly margin: { readonly left: number; readonly top: number };
}

/** Self-adhesive labels as they are sold in the whole of Europe: 24 on A4 (as Avery L7159). */
export const a4Sheet: SheetFormat = {
  page: { width: 210, height: 297 },
  label: { width: 63.5, height: 33.9 },
  columns: 3,
  rows: 8,
  pitch: { x: 66, y: 33.9 },
  margin: { left: 7.25, top: 12.9 },
};

/** 30 on US Letter (as Avery 5160) would be too low for the code: 20 of 4 by 1 inch. */
export const letterSheet: SheetFormat = {
  page: { width: 215.9, height: 279.4 },
  label: { width: 101.6, height: 25.4 },
  columns: 2,
  rows: 10,
  pitch: { x: 106.4, y: 25.4 },
  margin: { left: 4, top: 12.7 },
};

const inset = 2;
const textSize = 2.6;
const codeSize = 1.9;
/** How wide a sign is, by the height of its font: exact for the one of fixed width, else of the widest text that is usual. */
const signWidth: Readonly<Record<Font, number>> = { mono: 0.6, sans: 0.56, bold: 0.6 };
/** Lines stand this much further apart than their fonts are high. */
const lineHeight = 1.2;

export const labelPages = (labels: readonly Label[], format: SheetFormat = a4Sheet): Page[] => {
  const { columns, rows, pitch, margin, page } = format;
  const perPage = columns * rows;
  const pages: Page[] = [];
  for (let first = 0; first < labels.length; first += perPage) {
    const shapes = labels.slice(first, first + perPage).flatMap((label, index) =>
      labelShapes(label, format, {
        x: margin.left + (index % columns) * pitch.x,
        y: margin.top + Math.floor(index / columns) * pitch.y,
      }),
    );
    pages.push({ ...page, shapes });
  }
  return pages;
};

const labelShapes = (
  label: Label,
  { label: { width, height } }: SheetFormat,
  { x, y }: { readonly x: number; readonly y: number },
): Shape[] => {
  const qr = qrOfClaim(label.code);
  const side = height - 2 * inset;
  const textX = x + inset + side;
  const textWidth = x + width - inset - textX;
  const words: readonly TextLine[] = [
    { font: 'bold', size: 3.4, text: label.device || 'any device' },
    { font: 'sans', size: textSize, text: label.model || 'any model' },
    { font: 'sans', size: textSize, text: label.site },
    { font: 'sans', size: textSize, text: untilOf(label.expires) },
  ];
  const code = codeLines(label.code, mostSigns('mono', codeSize, textWidth)).map(
    (text): TextLine => ({ font: 'mono', size: codeSize, text }),
  );
  // Half a code is of no use to anybody: then its picture has to do.
  const lines = heightOf([...words, ...code]) <= side ? [...words, ...code] : words;
  let baseline = y + inset;
  return [
    ...qrBars(qr, x + inset, y + inset, side),
    ...lines.map(({ font, size, text }): Line => {
      baseline += size * lineHeight;
      const shown = shorten(text, mostSigns(font, size, textWidth));
      return { kind: 'line', x: textX, y: baseline, size, font, text: shown };
    }),
  ];
};

type TextLine = Pick<Line, 'font' | 'size' | 'text'>;

const heightOf = (lines: readonly TextLine[]): number =>
  lines.reduce((height, { size }) => height + size * lineHeight, 0);

const mostSigns = (font: Font, size: number, width: number): number =>
  Math.floor(width / (size * signWidth[font]));

const untilOf = (expires: Date | undefined): string =>
  expires === undefined ? '' : `until ${expires.toISOString().slice(0, 10)}`;

/** The groups of a code as a person types them, as many to a line as fit. */
const codeLines = (code: string, most: number): string[] => {
  const lines: string[] = [];
  let line = '';
  for (const group of code.split('-')) {
    if (line !== '' && line.length + 1 + group.length > most) {
      lines.push(line);
      line = group;
    } else line = line === '' ? group : `${line}-${group}`;
  }
  return [...lines, line];
};

const shorten = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, Math.max(0, most - 1))}…`;

/** Dark modules that stand beside each other are one bar. */
const qrBars = (qr: QrCode, x: number, y: number, side: number): Shape[] => {
  const module = side / (qr.length + 2 * quietModules);
  const bars: Shape[] = [];
  for (const [row, modules] of qr.entries()) {
    for (let start = 0; start < modules.length; start += 1) {
      if (modules[start] !== true) continue;
      let end = start + 1;
      while (modules[end] === true) end += 1;
      bars.push({
        kind: 'bar',
        x: x + (quietModules + start) * module,
        y: y + (quietModules + row) * module,
        width: (end - start) * module,
        height: module,
      });
      start = end;
    }
  }
  return bars;
};
