/** Who a client of hawkBit's device interface is by the token that it shows: its device's, or the gateway's where one is set. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Refusal, TargetIdentity } from './identity.js';
import type { TargetTokens } from './target-tokens.js';

export interface IdentifyTargetDeps {
  readonly targetTokens: Pick<TargetTokens, 'find'>;
  /** Absent: no token speaks for every device. */
  readonly gatewayToken?: string | undefined;
}

/** undefined where no token was shown. */
export type IdentifyTarget = (
  request: Pick<IncomingMessage, 'headers'>,
) => TargetIdentity | Refusal | undefined;

export const identifyTarget = ({
  targetTokens,
  gatewayToken,
}: IdentifyTargetDeps): IdentifyTarget => {
  const expected = gatewayToken === undefined ? undefined : digestOf(gatewayToken);
  return ({ headers: { authorization } }) => {
    if (authorization === undefined) return undefined;
    const [, kind, token = ''] = form.exec(authorization) ?? [];
    switch (kind?.toLowerCase()) {
      case 'targettoken': {
        const device = targetTokens.find(token);
        return device === undefined
          ? refused('a target token that is not one')
          : { kind: 'target', device };
      }
      case 'gatewaytoken':
        if (expected === undefined) return refused('a gateway token, and none is set');
        return timingSafeEqual(digestOf(token), expected)
          ? { kind: 'target', device: null }
          : refused('a gateway token that is not the one');
      default:
        return refused('an authorization that is none of ours');
    }
  };
};

const form = /^(\w{1,32}) +([\x21-\x7e]{1,256})$/;

const digestOf = (token: string): Buffer => createHash('sha256').update(token).digest();

const refused = (reason: string): Refusal => ({ kind: 'refused', reason });

/** Errors: CONFIGURATION_INVALID. */
export const readGatewayToken = async (path: string | undefined): Promise<string | undefined> => {
  if (path === undefined) return undefined;
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw invalid(messageOf(error));
  });
  const token = text.trim();
  if (/^[\x21-\x7e]{16,256}$/.test(token)) return token;
  throw invalid(`${path} has to hold one line, a token of 16 to 256 characters`);
};

const invalid = (why: string): HoldfastError =>
  new HoldfastError('CONFIGURATION_INVALID', `ddi.gatewayTokenFile: ${why}`);
