/** Sessions by client id, and by whose they are: a device, or a service. */
import type { Session } from './session.js';

type Known = Pick<Session, 'clientId' | 'device'>;

export class OwnedSessions<S extends Known> {
  readonly #byClientId = new Map<string, S>();
  readonly #byOwner = new Map<string, Set<S>>();

  get(clientId: string): S | undefined {
    return this.#byClientId.get(clientId);
  }

  all(): Iterable<S> {
    return this.#byClientId.values();
  }

  /** In the place of any other of its client id. */
  set(session: S): void {
    const before = this.#byClientId.get(session.clientId);
    if (before !== undefined) this.delete(before);
    this.#byClientId.set(session.clientId, session);
    const owner = ownerOf(session);
    const others = this.#byOwner.get(owner) ?? new Set();
    this.#byOwner.set(owner, others.add(session));
  }

  /** Nothing when another has its client id by now. */
  delete(session: S): void {
    if (this.#byClientId.get(session.clientId) !== session) return;
    this.#byClientId.delete(session.clientId);
    const owner = ownerOf(session);
    const others = this.#byOwner.get(owner);
    if (others?.delete(session) && others.size === 0) this.#byOwner.delete(owner);
  }

  /** Those of the device or service that this one is of, itself among them. */
  sharingOwnerOf(session: S): S[] {
    return [...(this.#byOwner.get(ownerOf(session)) ?? [])];
  }

  ofDevice(device: string): S[] {
    return [...(this.#byOwner.get(ownerOfDevice(device)) ?? [])];
  }
}

const ownerOfDevice = (device: string): string => `device ${device}`;

/** A service is `service/` and its name, which stand before its client id. */
const ownerOf = ({ device, clientId }: Known): string =>
  device === null ? clientId.slice(0, clientId.lastIndexOf('/') + 1) : ownerOfDevice(device);
