import { Lane } from '@holdfast/protos/gen/holdfast/v1/link';
import t from 'tap';
import { EffectRegistry } from '../effects/effect-registry.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import type { LinkStream } from './stream.js';
import { UpLanes } from './up-lanes.js';

t.test(
  'holds a gateway back that floods with empty batches, until they are done with',
  async (t) => {
    const { engine, now, log } = await storeUnderTest(t);
    const said: string[] = [];
    const stream: Pick<LinkStream, 'ended' | 'hold' | 'go' | 'say'> = {
      ended: new AbortController().signal,
      hold: () => said.push('hold'),
      go: () => said.push('go'),
      say: () => undefined,
    };
    const lanes = new UpLanes(
      { engine, effects: new EffectRegistry(), now, log },
      // What it uses of one.
      stream as LinkStream,
      {
        gateway: { site: 'a', gateway: 'gw2', epoch: 2 },
        windowBytes: 1024,
        onFailure: () => undefined,
      },
    );
    for (let count = 0; count < 3; count += 1) {
      lanes.take({
        lane: Lane.LANE_STATE,
        log: 'a'.repeat(32),
        firstSeq: 1n,
        lastSeq: 1n,
        previousChain: Buffer.alloc(0),
        chain: Buffer.alloc(32),
        entries: Buffer.alloc(0),
        uncompressedBytes: 0,
      });
    }
    t.same(said, ['hold']);
    await lanes.close();
    t.equal(said.at(-1), 'go');
  },
);
