/**
 * Which gateway is connected for which site. One at a time: a second one with the same epoch takes over when the first does not answer,
 * and is a clone when it does (DESIGN.md, "Epoch").
 */
import type { GatewayIdentity } from './gateway-identity.js';

/** A connection that was admitted. */
export interface LiveConnection {
  readonly gateway: GatewayIdentity;
  /** Random, drawn at the gateway's start; for the log. */
  readonly bootId: string;
  readonly isOver: boolean;
  /** Whether the gateway at the other end answers within this time. */
  answersWithin(ms: number): Promise<boolean>;
  /** Ends it because another one took over. */
  yieldTo(bootId: string): void;
}

export interface ContactsOptions {
  /** How long a connection has to answer before another takes its place. */
  readonly answerTimeoutMs?: number;
}

export class Contacts {
  readonly #answerTimeoutMs: number;
  readonly #live = new Map<string, LiveConnection>();
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor({ answerTimeoutMs = 5_000 }: ContactsOptions = {}) {
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  /** Sites that are connected now. */
  get size(): number {
    return this.#live.size;
  }

  isConnected(site: string): boolean {
    return this.#live.has(site);
  }

  /**
   * Makes this connection the site's. False when the one there is answers: the two are clones, for a gateway hangs up before it dials
   * again. Newcomers of one site are decided on one after the other; false also for one
   * that is over.
   */
  admit(newcomer: LiveConnection): Promise<boolean> {
    const { site } = newcomer.gateway;
    const turn = (this.#turns.get(site) ?? Promise.resolve()).then(() => this.#admit(newcomer));
    const settled = turn
      .catch(() => undefined)
      .finally(() => {
        if (this.#turns.get(site) === settled) this.#turns.delete(site);
      });
    this.#turns.set(site, settled);
    return turn;
  }

  /** The connection is over. */
  release(connection: LiveConnection): void {
    const { site } = connection.gateway;
    if (this.#live.get(site) === connection) this.#live.delete(site);
  }

  async #admit(newcomer: LiveConnection): Promise<boolean> {
    const { site, epoch } = newcomer.gateway;
    // While it waited for its turn, or for the other's answer, it may have gone.
    if (newcomer.isOver) return false;
    const present = this.#live.get(site);
    if (present !== undefined) {
      const isPeer = present.gateway.epoch === epoch;
      if (isPeer && (await present.answersWithin(this.#answerTimeoutMs))) return false;
      if (newcomer.isOver) return false;
      present.yieldTo(newcomer.bootId);
    }
    this.#live.set(site, newcomer);
    return true;
  }
}
