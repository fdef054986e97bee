/** A sheet of labels as files: one PDF, or an SVG a page. */
import type { FileHandle } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { openSecretFile } from '../secret-file.js';
import type { Page } from './drawing.js';
import { a4Sheet, type Label, labelPages, letterSheet, type SheetFormat } from './label-sheet.js';
import { toPdf } from './pdf.js';
import { toSvg } from './svg.js';

export interface LabelFiles {
  /** Writes them and closes; the paths. */
  write(labels: readonly Label[]): Promise<string[]>;
}

const papers: Readonly<Record<string, SheetFormat>> = { a4: a4Sheet, letter: letterSheet };

/** To be opened before the codes are made. `paper` is a4 or letter. Errors: REQUEST_INVALID. */
export const openLabelFiles = async (path: string, paper = 'a4'): Promise<LabelFiles> => {
  const format = Object.hasOwn(papers, paper) ? papers[paper] : undefined;
  if (format === undefined) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `there is paper ${Object.keys(papers).join(' and ')}`,
    );
  }
  const kind = /\.(pdf|svg)$/i.exec(path)?.[1]?.toLowerCase();
  if (kind === undefined) {
    throw new HoldfastError('REQUEST_INVALID', `${path}: labels are written as .pdf or .svg`);
  }
  const first = await openSecretFile(path);
  return {
    async write(labels) {
      const pages = labelPages(labels, format);
      if (kind === 'pdf') {
        await writeAndClose(first, toPdf(pages));
        return [path];
      }
      return writeSvgs(first, path, pages);
    },
  };
};

/** `labels.svg`, `labels-2.svg`, …: an SVG is one picture. */
const writeSvgs = async (
  first: FileHandle,
  path: string,
  pages: readonly Page[],
): Promise<string[]> => {
  const paths: string[] = [];
  for (const [index, page] of pages.entries()) {
    const name = index === 0 ? path : path.replace(/(\.svg)$/i, `-${index + 1}$1`);
    await writeAndClose(index === 0 ? first : await openSecretFile(name), toSvg(page));
    paths.push(name);
  }
  return paths;
};

const writeAndClose = async (file: FileHandle, content: Uint8Array | string): Promise<void> => {
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
};
