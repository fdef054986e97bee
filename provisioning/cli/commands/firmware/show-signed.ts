/** What a person sees after metadata was signed: which files are new, until when they hold, and what is still missing. */
import { type MetadataFile, metadataId } from '../../../firmware/metadata-file.js';
import { rootContentOf, signersOf, targetsContentOf } from '../../../firmware/read-contents.js';
import type { SignedFile } from '../../../firmware/signing-desk.js';
import type { Signing } from './signing-options.js';

export const expiryOf = (file: MetadataFile): number =>
  (file.role === 'root' ? rootContentOf(file) : targetsContentOf(file)).expiresAt;

export const day = (epochMs: number): string => new Date(epochMs).toISOString().slice(0, 10);

/** `more` goes into the JSON; `next` is what to do once nothing is missing. */
export const showSigned = (
  { context: { terminal, now }, desk }: Pick<Signing, 'context' | 'desk'>,
  files: readonly SignedFile[],
  { next, ...more }: { readonly next: string; readonly [key: string]: unknown },
): void => {
  const lacking = files.find(({ missing }) => missing > 0);
  const expired = files.find(({ file }) => expiryOf(file) <= now())?.file;
  const step =
    lacking !== undefined
      ? nextSignature(lacking.file.role)
      : expired !== undefined
        ? `holdfast firmware keys renew ${expired.role}: nobody takes it as it is`
        : next;
  terminal.json({
    ...more,
    files: files.map(({ file, missing }) => ({
      role: file.role,
      version: file.version,
      expires_at: expiryOf(file),
      signed_by: signersOf(file),
      missing_signatures: missing,
    })),
    next: step,
  });
  for (const { file, missing } of files) {
    const signers = signersOf(file).map((id) => desk.nameOf(id));
    const by = signers.length === 0 ? 'signed by nobody yet' : `signed by ${signers.join(', ')}`;
    const mark = missing === 0 ? terminal.paint('green', '✓') : terminal.paint('yellow', '…');
    const lack = missing === 0 ? '' : terminal.paint('yellow', ` · ${signatures(missing)} missing`);
    const until = day(expiryOf(file));
    const term =
      expiryOf(file) > now() ? `holds until ${until}` : terminal.paint('red', `expired ${until}`);
    terminal.line(`${mark} ${titleOf(file)}  ${by} · ${term}${lack}`);
  }
  terminal.line(`  next: ${step}`);
};

const titleOf = (file: MetadataFile): string =>
  file.role === 'root' ? metadataId(file) : `${file.role}, version ${file.version}`;

const signatures = (count: number): string => `${count} signature${count === 1 ? '' : 's'}`;

const nextSignature = (role: string): string =>
  role === 'root'
    ? 'holdfast firmware keys sign-root, where the other keys are'
    : `holdfast firmware keys sign ${role}, where the other keys are`;
