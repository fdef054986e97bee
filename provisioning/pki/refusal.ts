/** Why a certificate is refused. */

export type RefusalReason =
  | 'malformed'
  | 'algorithm'
  | 'chain'
  | 'authority'
  | 'constraint'
  | 'usage'
  | 'issuer'
  | 'site'
  | 'name'
  | 'host'
  | 'revoked'
  | 'not-yet-valid'
  | 'expired';

export interface Refusal {
  readonly identity?: never;
  readonly refused: RefusalReason;
  readonly message: string;
}

export const refuse = (refused: RefusalReason, message: string): Refusal => ({ refused, message });
