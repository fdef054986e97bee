/** Why a certificate was revoked: the reasons of RFC 5280 (5.3.1) that Holdfast has a use for. */
import * as v from 'valibot';

export const revocationReasons = [
  'unspecified',
  'key_compromise',
  'ca_compromise',
  /** Another certificate has taken its place: the device goes on. */
  'superseded',
  /** The device or the authority is retired. */
  'cessation_of_operation',
  'privilege_withdrawn',
] as const;
export type RevocationReason = (typeof revocationReasons)[number];
export const revocationReason = v.picklist(revocationReasons);

/** CRLReason as it stands in a list. */
export const reasonCodes: Readonly<Record<RevocationReason, number>> = {
  unspecified: 0,
  key_compromise: 1,
  ca_compromise: 2,
  superseded: 4,
  cessation_of_operation: 5,
  privilege_withdrawn: 9,
};
