/** What the local API says of the link. */
import type { LaneName } from '@holdfast/protos/link/journal-entries';
import type { FenceReason } from './fence.js';
import type { PlanState } from './plan-view.js';

export interface LinkStatus {
  readonly connected: boolean;
  /** Since when it is as it is, epoch ms; null before the first attempt ended. */
  readonly since: number | null;
  /** When the control plane was last heard, epoch ms; null when it was not since the program started. */
  readonly lastContact: number | null;
  /** Why it is not connected. */
  readonly reason: string | null;
  /** The last refusal by the control plane, until it welcomes us. */
  readonly refusal: { readonly code: string; readonly message: string } | null;
  /** Entries of each lane that the control plane is not known to have. */
  readonly backlog: Readonly<Record<LaneName, number>>;
  readonly plan: {
    readonly state: PlanState;
    readonly generation: number;
    readonly revision: number;
    readonly issuedAt: number;
    readonly expiresAt: number;
  } | null;
  readonly fenced: FenceReason | null;
}
