/** The WAN between the gateway and the control plane: one proxy a port, all cut and mended together. */
import type { ReadyPorts } from '../program/ready.js';
import { ByteBudget } from '../transfer/byte-budget.js';
import { WanProxy, type WanState } from './wan-proxy.js';

/** Ports of the control plane as the gateway sees them. */
export type WanPorts = Readonly<Record<'grpc' | 'link' | 'https', number>>;

export class Wan {
  readonly #proxies: Readonly<Record<keyof WanPorts, WanProxy>>;
  readonly #targets: Record<keyof WanPorts, number>;

  private constructor(proxies: Wan['proxies'], targets: Record<keyof WanPorts, number>) {
    this.#proxies = proxies;
    this.#targets = targets;
  }

  /** With `bytesPerS` all that comes from the control plane shares so much. */
  static async open(ports: WanPorts, bytesPerS?: number): Promise<Wan> {
    const monotonic = () => performance.now();
    const budget =
      bytesPerS === undefined
        ? undefined
        : new ByteBudget({ monotonic }, { bytesPerS: () => bytesPerS });
    const targets = { grpc: 0, link: 0, https: 0 };
    const open = (name: keyof WanPorts): Promise<WanProxy> =>
      WanProxy.open({
        target: () => ({ host: '127.0.0.1', port: targets[name] }),
        port: ports[name],
        ...(budget && { budget }),
      });
    const [grpc, link, https] = await Promise.all([open('grpc'), open('link'), open('https')]);
    return new Wan({ grpc, link, https }, targets);
  }

  get proxies(): Readonly<Record<keyof WanPorts, WanProxy>> {
    return this.#proxies;
  }

  get state(): WanState {
    return this.#proxies.link.state;
  }

  /** The control plane is on these ports now. */
  lead(ports: ReadyPorts): void {
    this.#targets.grpc = ports.grpc ?? 0;
    this.#targets.link = ports.link ?? 0;
    this.#targets.https = ports.https ?? 0;
  }

  /** The admin's way to the control plane is not cut: people sit on the other side. */
  set(state: WanState): void {
    this.#proxies.link.set(state);
    this.#proxies.https.set(state);
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#proxies).map((proxy) => proxy.close()));
  }
}
