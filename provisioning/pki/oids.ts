/** The object identifiers that Holdfast's certificates use. */

/**
 * Holdfast's own arc, made of a random UUID (ITU-T X.667): it needs no registration and never changes, since certificates in the
 * field hold it.
 */
const holdfast = '2.25.95828162079613223261860680398813639873';

/** Extended key usages: the role of a certificate comes from these, never from its name. */
export const keyUsages = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  /** A gateway on the link. */
  gateway: `${holdfast}.1`,
  /** Signs plan heads and batches of orders. */
  planSigning: `${holdfast}.2`,
} as const;

export const nameTypes = {
  commonName: '2.5.4.3',
  serialNumber: '2.5.4.5',
  organization: '2.5.4.10',
  unit: '2.5.4.11',
} as const;
