/** A device that publishes all the time, each message measured from its sending to the PUBACK, which follows the commit. */
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import type { Credentials } from '@holdfast/devices/agent/identity';
import { connectAsync, type MqttClient } from 'mqtt';
import { percentile } from '../../shadows/bench/figures.js';

export interface PublishProbe {
  /** Times since the last call, ms. */
  take(): PublishTimes;
  close(): Promise<void>;
}

export interface PublishTimes {
  readonly times: readonly number[];
  readonly p50: number;
  readonly p99: number;
  readonly count: number;
}

export const publishTimes = (times: readonly number[]): PublishTimes => ({
  times,
  p50: percentile(times, 0.5),
  p99: percentile(times, 0.99),
  count: times.length,
});

/** A connection is served in order, so that its messages are one commit each: more than a busy disk manages would measure their queue. */
const perSecond = 20;

/** The client of an agent's credentials. */
export const connectProbe = ({ identity, key }: Credentials): Promise<MqttClient> => {
  const [{ host, mqtts: port } = { host: '', mqtts: 0 }] = identity.gateways;
  return connectAsync({
    ...{ protocol: 'mqtts', host, port, clientId: identity.deviceId },
    ...{ key, cert: `${identity.certificate}${identity.siteCa}`, ca: identity.root },
  });
};

/** The client is ended with it. */
export const openPublishProbe = (client: MqttClient, device: string): PublishProbe => {
  const topic = `dt/${device}/telemetry/probe`;
  let times: number[] = [];
  const end = new AbortController();
  const publishAll = async (): Promise<void> => {
    const begun = performance.now();
    for (let turn = 0; !end.signal.aborted; turn += 1) {
      // By the clock, whether the ones before are through or not: a stall counts for all that it held up.
      await pause(Math.max(0, begun + (turn * 1_000) / perSecond - performance.now()));
      const sent = performance.now();
      client
        .publishAsync(topic, `${turn}`, { qos: 1 })
        .then(() => times.push(performance.now() - sent))
        .catch(() => undefined);
    }
  };
  const publishing = publishAll();
  return {
    take() {
      const taken = times;
      times = [];
      return publishTimes(taken);
    },
    async close() {
      end.abort();
      await publishing;
      await client.endAsync(true);
    },
  };
};
