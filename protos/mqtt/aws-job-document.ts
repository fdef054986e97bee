import type { UpdateDelta } from './update-document.js';

/**
 * The `jobDocument` of an update, for devices on the jobs topics of AWS IoT; that of a plain job is the job's own, word for word. It is made
 * when it is told, so its address holds from then on.
 */
export interface AwsUpdateDocument {
  readonly operation: 'update';
  readonly campaign_id: string;
  readonly model: string;
  readonly version: string;
  /** Signed for this device, and good without a certificate while the job may run. */
  readonly url: string;
  readonly sha256: string;
  readonly size_bytes: number;
  /** Smaller files that make the same image of one that the device still has, each with a signed address; as on the native topics. */
  readonly deltas?: readonly UpdateDelta[];
  /** Over the 32 bytes of the digest; for devices that verify no more than one signature. */
  readonly image_signatures?: readonly AwsImageSignature[];
}

export interface AwsImageSignature {
  readonly key_id: string;
  readonly scheme: 'ed25519' | 'rsassa-pss-sha256';
  /** Hexadecimal. */
  readonly signature: string;
}
