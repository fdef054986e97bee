/**
 * The pairing button: where a site has one, the certificate of a manufacturer enrols a device only for two minutes after somebody pressed
 * it, and one device a press. So who has merely a genuine device and the network of the site gets nowhere; codes, which a technician
 * makes, hold as ever. The press opens nothing that the plan does not allow.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../store/journal.js';
import type { SiteStore } from '../store/site-store.js';

export interface PairingWindowDeps {
  readonly site: Pick<SiteStore, 'commit'>;
  readonly clock: Clock;
  /** Throws GATEWAY_FENCED: then nothing can be opened here. */
  readonly fence: { check(): void };
}

export const pairingMs = 120_000;

export class PairingWindow {
  readonly #deps: PairingWindowDeps;
  readonly #isRequired: boolean;
  /** Monotonic ms. */
  #until = Number.NEGATIVE_INFINITY;
  #opening: Promise<void> | undefined;

  /** `isRequired`: whether the site has such a button. */
  constructor(deps: PairingWindowDeps, { isRequired }: { readonly isRequired: boolean }) {
    this.#deps = deps;
    this.#isRequired = isRequired;
  }

  get isOpen(): boolean {
    return this.#deps.clock.monotonic() < this.#until;
  }

  /** Resolves when it is open, and that is in the journal. A press more neither opens nor prolongs. Errors: GATEWAY_FENCED, those of the store. */
  async press(button: string): Promise<void> {
    this.#deps.fence.check();
    if (this.isOpen) return;
    this.#opening ??= this.#open(button).finally(() => {
      this.#opening = undefined;
    });
    await this.#opening;
  }

  /** Enrols a device by the certificate of its manufacturer. Errors: MANUFACTURER_REFUSED, and those of `enrol`. */
  async admit<T>(enrol: () => Promise<T>): Promise<T> {
    if (!this.#isRequired) return enrol();
    if (!this.isOpen) {
      throw new HoldfastError(
        'MANUFACTURER_REFUSED',
        'at this site somebody has to press the pairing button of the gateway first, for each device',
        { data: { next: 'press it, and enrol within two minutes; or ask for a code' } },
      );
    }
    const until = this.#until;
    // Nobody else comes in beside it.
    this.#until = Number.NEGATIVE_INFINITY;
    try {
      return await enrol();
    } catch (error) {
      this.#until = until;
      throw error;
    }
  }

  async #open(button: string): Promise<void> {
    const { site, clock } = this.#deps;
    const now = clock.now();
    const body = { button, until: now + pairingMs };
    await site.commit([journalEntry('audit', 'pairing_opened', body, now)]);
    this.#until = clock.monotonic() + pairingMs;
  }
}
