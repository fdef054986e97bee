/** What printers and viewers make of a sheet: `pdftoppm` and `rsvg-convert` must be installed. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { createSecret, formatClaimCode, parseClaimCode } from '../../pki/claim-code.js';
import { crop, type GreyPicture, parsePgm, readQr } from './grey-picture.js';
import { a4Sheet, type Label, labelPages, letterSheet, type SheetFormat } from './label-sheet.js';
import { toPdf } from './pdf.js';
import { toSvg } from './svg.js';

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), 'holdfast-labels-'));
t.teardown(() => rm(folder, { recursive: true }));
const dotsPerMm = 12;

const rasterise = async (pdf: string, page: number): Promise<GreyPicture> => {
  const { stdout } = await run(
    'pdftoppm',
    ['-gray', '-r', String(dotsPerMm * 25.4), '-f', `${page}`, '-l', `${page}`, pdf],
    { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 },
  );
  return parsePgm(stdout);
};

const labelsOf = (count: number): Label[] =>
  Array.from({ length: count }, (_, index) => ({
    code: formatClaimCode({
      kind: 'device',
      secret: createSecret(),
      rootSha256: 'a5'.repeat(32),
      address: index % 2 === 0 ? undefined : 'gateway.local:8443',
    }),
    site: 'farm',
    device: index === 0 ? '' : `pump-with-a-long-name-${index}`,
    model: 'Pumpe <Größe 3> & (Zubehör) \\',
    expires: new Date(Date.UTC(2026, 0, 2)),
  }));

const codesIn = (picture: GreyPicture, format: SheetFormat): (string | undefined)[] => {
  const codes: (string | undefined)[] = [];
  for (let row = 0; row < format.rows; row += 1) {
    for (let column = 0; column < format.columns; column += 1) {
      const area = {
        x: (format.margin.left + column * format.pitch.x) * dotsPerMm,
        y: (format.margin.top + row * format.pitch.y) * dotsPerMm,
        width: format.label.height * dotsPerMm,
        height: format.label.height * dotsPerMm,
      };
      codes.push(readQr(crop(picture, area)));
    }
  }
  return codes;
};

const known = (codes: readonly (string | undefined)[]) =>
  codes.filter((code) => code !== undefined).map((code) => parseClaimCode(code).secret);

for (const [name, format] of Object.entries({ a4Sheet, letterSheet })) {
  t.test(`every code on a printed ${name} can be read, where it stands`, async (t) => {
    const perPage = format.columns * format.rows;
    const labels = labelsOf(perPage + 1);
    const pages = labelPages(labels, format);
    t.equal(pages.length, 2);
    const secrets = labels.map(({ code }) => parseClaimCode(code).secret);
    const pdf = join(folder, `${name}.pdf`);
    await writeFile(pdf, toPdf(pages));
    t.same(known(codesIn(await rasterise(pdf, 1), format)), secrets.slice(0, perPage));
    t.same(known(codesIn(await rasterise(pdf, 2), format)), secrets.slice(perPage));

    const [first] = pages;
    const svg = join(folder, `${name}.svg`);
    await writeFile(svg, first === undefined ? '' : toSvg(first));
    const drawn = join(folder, `${name}-svg.pdf`);
    await run('rsvg-convert', ['-f', 'pdf', '-o', drawn, svg]);
    t.same(known(codesIn(await rasterise(drawn, 1), format)), secrets.slice(0, perPage));
  });
}

t.test('the text of a label stands in it as text', async (t) => {
  const pdf = join(folder, 'text.pdf');
  const [first, second] = labelsOf(2);
  await writeFile(pdf, toPdf(labelPages([first, second].filter((label) => label !== undefined))));
  const { stdout } = await run('pdftotext', ['-layout', pdf, '-']);
  t.match(stdout, 'any device');
  t.match(stdout, 'Pumpe <Größe');
  t.match(stdout, 'until 2026-01-02');
  const [prefix, group] = (second?.code ?? '').split('-');
  t.match(stdout, `${prefix}-${group}`);
});
