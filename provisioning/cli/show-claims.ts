/** New codes as people get them: text, a QR code, a sheet of labels. */
import { parseClaimCode } from '../pki/claim-code.js';
import type { LabelFiles } from './labels/label-files.js';
import type { Label } from './labels/label-sheet.js';
import { qrLines, qrOfClaim } from './qr-code.js';
import type { Terminal } from './terminal.js';

/** A code as both APIs give it. */
export interface ShownClaim {
  readonly code: string;
  readonly expire_time: Date | undefined;
  readonly site: string | undefined;
  /** undefined where the code leaves it to the device. */
  readonly device: string | undefined;
  readonly model: string | undefined;
}

export interface ShowOptions {
  /** Whether somebody asked for a number of codes, and gets a list, also of one. */
  readonly isList: boolean;
  readonly hasQr: boolean;
  readonly labels: LabelFiles | undefined;
  /** The device that is enrolled under the id of the code. */
  readonly replaced?: string | undefined;
  /** Other codes that are open for the same id, as `device claims` calls them. */
  readonly alsoOpen?: readonly string[];
  /** Whether they were made at a gateway. */
  readonly isAtGateway?: boolean;
}

export const showClaims = async (
  terminal: Terminal,
  claims: readonly ShownClaim[],
  { isList, hasQr, labels, replaced, alsoOpen = [], isAtGateway = false }: ShowOptions,
): Promise<void> => {
  const paths = await labels?.write(claims.map(labelOf));
  const [only, ...others] = claims;
  terminal.json(
    isList
      ? { codes: claims, labels: paths }
      : {
          ...only,
          labels: paths,
          replaces: replaced,
          ...(alsoOpen.length > 0 && { also_open: alsoOpen }),
        },
  );
  if (only === undefined) return;
  if (others.length === 0) showOne(terminal, only, hasQr);
  else if (paths === undefined) for (const { code } of claims) terminal.line(code);
  if (replaced !== undefined) {
    terminal.line(
      `${terminal.paint('yellow', '!')} ${replaced} is enrolled: whoever uses this code takes its place, and its certificates are revoked`,
    );
  }
  for (const other of alsoOpen) {
    terminal.line(
      `${terminal.paint('yellow', '!')} another code for ${only.device} is open, and may be used as well; to delete it: holdfast${isAtGateway ? ' --gateway' : ''} device unclaim ${other}`,
    );
  }
  if (others.length > 0) {
    terminal.line(
      terminal.paint('dim', `${claims.length} codes, each valid once, ${untilOf(only)}`),
    );
  }
  if (paths !== undefined) {
    terminal.line(`${terminal.paint('green', '✓')} labels: ${paths.join(', ')}`);
    terminal.line(terminal.paint('dim', 'print at 100 %; whoever has the file can enrol devices'));
  }
};

const showOne = (terminal: Terminal, claim: ShownClaim, hasQr: boolean): void => {
  if (hasQr) {
    for (const line of qrLines(qrOfClaim(claim.code), { colours: terminal.hasColours })) {
      terminal.line(line);
    }
  }
  terminal.line('On the device:');
  // The control plane's code names no gateway: it does not know what the site calls its own.
  const knowsGateway = parseClaimCode(claim.code).address !== undefined;
  const id = claim.device === undefined ? ' --id ID' : '';
  const enroll = `holdfast-device enroll ${claim.code}${id}${knowsGateway ? '' : ' --gateway HOST:8443'}`;
  terminal.line(`  ${terminal.paint('bold', enroll)}`);
  if (!knowsGateway) {
    terminal.line(terminal.paint('dim', 'HOST is the gateway as the device reaches it'));
  }
  terminal.line(terminal.paint('dim', `for ${purposeOf(claim)}, valid once, ${untilOf(claim)}`));
};

export const labelOf = (claim: ShownClaim): Label => ({
  code: claim.code,
  site: claim.site ?? '',
  device: claim.device ?? '',
  model: claim.model ?? '',
  expires: claim.expire_time,
});

/** Whom a code is for. */
export const purposeOf = ({ device, model }: Pick<ShownClaim, 'device' | 'model'>): string =>
  (device ?? 'any device') + (model === undefined ? '' : ` of the model ${model}`);

const untilOf = ({ expire_time }: ShownClaim): string =>
  `until ${expire_time?.toISOString() ?? '?'}`;
