/**
 * Pages as PDF 1.4 (ISO 32000-1): bars and lines in three of the fonts that every reader has. What there is of libraries brings fonts,
 * images and compression in megabytes, or is kept no more; this is all that a sheet of labels needs.
 */
import type { Bar, Font, Line, Page, Shape } from './drawing.js';

const fontNames: Readonly<Record<Font, { readonly key: string; readonly name: string }>> = {
  sans: { key: 'F1', name: 'Helvetica' },
  bold: { key: 'F2', name: 'Helvetica-Bold' },
  mono: { key: 'F3', name: 'Courier' },
};
const pointsInMm = 72 / 25.4;

/** The file. Objects: the catalogue, the list of pages, the fonts, then each page and what it shows. */
export const toPdf = (pages: readonly Page[]): Uint8Array => {
  const fonts = Object.values(fontNames);
  const firstPage = 3 + fonts.length;
  const pageNumbers = pages.map((_, index) => firstPage + 2 * index);
  const fontReferences = fonts.map(({ key }, index) => `/${key} ${3 + index} 0 R`).join(' ');
  const objects = [
    '<< /Type /Catalog /Pages 2 0 R >>',
    `<< /Type /Pages /Count ${pages.length} /Kids [${pageNumbers.map((n) => `${n} 0 R`).join(' ')}] >>`,
    ...fonts.map(
      ({ name }) =>
        `<< /Type /Font /Subtype /Type1 /BaseFont /${name} /Encoding /WinAnsiEncoding >>`,
    ),
    ...pages.flatMap((page, index) => [
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${points(page.width)} ${points(page.height)}] ` +
        `/Resources << /Font << ${fontReferences} >> >> /Contents ${firstPage + 2 * index + 1} 0 R >>`,
      streamOf(page),
    ]),
  ];
  return assemble(objects);
};

const streamOf = ({ height, shapes }: Page): string => {
  const content = shapes.map((shape) => draw(shape, height)).join('\n');
  return `<< /Length ${content.length} >>\nstream\n${content}\nendstream`;
};

const draw = (shape: Shape, pageHeight: number): string =>
  shape.kind === 'bar' ? drawBar(shape, pageHeight) : drawLine(shape, pageHeight);

/** PDF counts from the lower left corner. */
const drawBar = ({ x, y, width, height }: Bar, pageHeight: number): string =>
  `${points(x)} ${points(pageHeight - y - height)} ${points(width)} ${points(height)} re f`;

const drawLine = ({ x, y, size, font, text }: Line, pageHeight: number): string =>
  `BT /${fontNames[font].key} ${points(size)} Tf ${points(x)} ${points(pageHeight - y)} Td (${encode(text)}) Tj ET`;

/** A string in WinAnsiEncoding, which is Latin-1 for what a label has, and the ellipsis. */
const encode = (text: string): string =>
  [...text]
    .map((sign) => {
      if (sign === '…') return '\\205';
      const code = sign.codePointAt(0) ?? 0;
      if (code < 32 || code > 255 || (code > 126 && code < 160)) return '?';
      return '()\\'.includes(sign) ? `\\${sign}` : sign;
    })
    .join('');

const points = (mm: number): string => String(Number((mm * pointsInMm).toFixed(3)));

/** With the table that says where each object begins, in bytes: every sign of the file is one. */
const assemble = (objects: readonly string[]): Uint8Array => {
  // The second line says to whoever moves the file that it is not text.
  let file = '%PDF-1.4\n%\xe2\xe3\xcf\xd3\n';
  const offsets: number[] = [];
  for (const [index, object] of objects.entries()) {
    offsets.push(file.length);
    file += `${index + 1} 0 obj\n${object}\nendobj\n`;
  }
  const table = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('');
  const size = objects.length + 1;
  file +=
    `xref\n0 ${size}\n0000000000 65535 f \n${table}` +
    `trailer\n<< /Size ${size} /Root 1 0 R >>\nstartxref\n${file.length}\n%%EOF\n`;
  return Buffer.from(file, 'latin1');
};
