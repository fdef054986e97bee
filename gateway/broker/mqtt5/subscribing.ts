/** SUBSCRIBE and UNSUBSCRIBE of an MQTT 5 client, each filter with its own answer. */
import type { SubscribePacket } from './packets-in.js';
import { subscriptionAnswer } from './packets-out.js';
import type { Mqtt5Dependencies, Peer } from './peer.js';
import { reason } from './reason.js';

export async function subscribe(
  { hooks }: Mqtt5Dependencies,
  peer: Peer,
  { packetId, subscriptions }: SubscribePacket,
): Promise<void> {
  const { connection } = peer;
  const codes: number[] = [];
  const begun: (() => void)[] = [];
  for (const { retainHandling, ...subscription } of subscriptions) {
    const wasThere = connection.session?.subscriptions.has(subscription.filter) === true;
    const outcome = await hooks.subscribe(connection, subscription);
    codes.push(outcome === 'GRANTED' ? subscription.qos : refusals[outcome]);
    const wantsRetained = retainHandling === 0 || (retainHandling === 1 && !wasThere);
    if (outcome === 'GRANTED' && wantsRetained) {
      begun.push(() => hooks.subscribed(connection, subscription));
    }
  }
  peer.answer(subscriptionAnswer('suback', packetId, codes));
  for (const begin of begun) begin();
}

export async function unsubscribe(
  { sessions }: Mqtt5Dependencies,
  peer: Peer,
  { packetId, filters }: { readonly packetId: number; readonly filters: readonly string[] },
): Promise<void> {
  const { session } = peer.connection;
  if (session === undefined) return;
  const codes = filters.map((filter) =>
    session.subscriptions.has(filter) ? reason.success : reason.noSubscriptionExisted,
  );
  await sessions.unsubscribe(session, filters);
  peer.answer(subscriptionAnswer('unsuback', packetId, codes));
}

const refusals = {
  NOT_AUTHORISED: reason.notAuthorised,
  FILTER_INVALID: reason.topicFilterInvalid,
  QUOTA_EXCEEDED: reason.quotaExceeded,
  SHARING_NOT_OFFERED: reason.sharedSubscriptionsNotSupported,
} as const;
