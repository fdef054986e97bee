/** A page as SVG: millimetres are its units. */
import type { Font, Page, Shape } from './drawing.js';

const fonts: Readonly<Record<Font, string>> = {
  sans: 'font-family="Helvetica, Arial, sans-serif"',
  bold: 'font-family="Helvetica, Arial, sans-serif" font-weight="bold"',
  mono: 'font-family="Courier, monospace"',
};

export const toSvg = ({ width, height, shapes }: Page): string =>
  [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}mm" height="${height}mm" viewBox="0 0 ${width} ${height}">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    // Each bar is drawn to the edges of its pixels: a light seam between two rows would confuse readers.
    '<g shape-rendering="crispEdges">',
    ...shapes.filter(({ kind }) => kind === 'bar').map(element),
    '</g>',
    ...shapes.filter(({ kind }) => kind === 'line').map(element),
    '</svg>',
    '',
  ].join('\n');

const element = (shape: Shape): string =>
  shape.kind === 'bar'
    ? `<rect x="${mm(shape.x)}" y="${mm(shape.y)}" width="${mm(shape.width)}" height="${mm(shape.height)}"/>`
    : `<text x="${mm(shape.x)}" y="${mm(shape.y)}" font-size="${shape.size}" ${fonts[shape.font]}>${escapeXml(shape.text)}</text>`;

const mm = (length: number): string => String(Number(length.toFixed(4)));

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
