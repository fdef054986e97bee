/** Who asks by an address that the gateway signed: whoever has it, for the device that it was made for. */
import type { SignedUrlDecision } from '../firmware/signed-url.js';
import type { Refusal, UrlIdentity } from './identity.js';

export interface IdentifyUrlDependencies {
  readonly verify: (sha256: string, query: URLSearchParams) => SignedUrlDecision | undefined;
  /** Why a device is out of service; undefined when it is not. */
  readonly refusal: (device: string) => string | undefined;
}

/** Undefined for an address without a signature. */
export type IdentifyUrl = (
  sha256: string,
  query: URLSearchParams,
) => UrlIdentity | Refusal | undefined;

export const identifyUrl =
  ({ verify, refusal }: IdentifyUrlDependencies): IdentifyUrl =>
  (sha256, query) => {
    const decision = verify(sha256, query);
    if (decision === undefined) return undefined;
    if (!decision.ok) return { kind: 'refused', reason: decision.reason };
    const { device } = decision;
    const reason = refusal(device);
    return reason === undefined ? { kind: 'url', device } : { kind: 'refused', reason };
  };
