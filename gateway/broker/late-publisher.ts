/** Publishing for the parts that exist before the broker, which opens its doors last. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Broker, OutboundMessage } from './broker.js';

export class LatePublisher {
  #broker: Pick<Broker, 'publish' | 'isHeard' | 'hears'> | undefined;

  /** The broker is open: from now on `publish` is its own. */
  lead(broker: Pick<Broker, 'publish' | 'isHeard' | 'hears'>): void {
    this.#broker = broker;
  }

  /** STORE_UNAVAILABLE until the broker is open; an effect is then performed again. */
  publish = async (message: OutboundMessage): Promise<void> => {
    if (this.#broker === undefined) {
      throw new HoldfastError('STORE_UNAVAILABLE', 'the broker is not open yet');
    }
    await this.#broker.publish(message);
  };

  /** True until the broker is open: nobody knows yet, and publishing then fails. */
  isHeard = (topic: string): boolean => this.#broker?.isHeard(topic) ?? true;

  hears = (clientId: string, topic: string): boolean =>
    this.#broker?.hears(clientId, topic) ?? false;
}
