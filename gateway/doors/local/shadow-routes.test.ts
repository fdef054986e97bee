import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Role, roles } from '@holdfast/protos/local/people';
import { emptyShadow } from '@holdfast/protos/semantics/shadow-merge';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import t, { type Test } from 'tap';
import type { Device } from '../../devices/device.js';
import {
  cloudWrites,
  desired,
  openFolder,
  openSite,
  silent,
  update,
} from '../../shadows/shadow-site-fixture.js';
import type { Principal } from '../../trust/identity.js';
import { openHttpDoor } from './http-door.js';
import { tokenOf } from './people-gate.js';
import { shadowRoutes } from './shadow-routes.js';
import { ShadowWatches, type ShadowWatchesOptions } from './shadow-watches.js';

const shadow = '/devices/pi-1/shadows/-';

/** A door for people who are who they say: `Bearer viewer`. */
const openDoor = async (t: Test, options: ShadowWatchesOptions = {}) => {
  const site = await openSite(t, await openFolder(t), { maxDocumentBytes: 30_000 });
  const signedOut = new Set<string>();
  const identify = (request: IncomingMessage): Principal => {
    const role = roles.find((one) => one === tokenOf(request));
    if (role === undefined || signedOut.has(role)) return { kind: 'anonymous', reason: 'nobody' };
    return { kind: 'person', user: `a-${role}`, role };
  };
  const watches = new ShadowWatches(
    {
      history: site.shadows.history,
      isAllowed: (request) => identify(request).kind === 'person',
      now: () => site.now,
    },
    options,
  );
  const fleet = await createTestFleet();
  const { tls } = await fleet.gatewayServer('g');
  let isFenced = false;
  const door = await openHttpDoor(
    {
      routes: shadowRoutes({
        shadows: site.shadows,
        watches,
        deviceOf: ({ params }) => {
          const device = params.get('device') ?? '';
          if (device === 'pi-1') return { device } as Device; // nothing else is asked of it
          throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no device ${device}`);
        },
        fence: {
          check() {
            if (isFenced) throw new HoldfastError('GATEWAY_FENCED', 'another owns the site');
          },
        },
      }),
      identify,
      refusal: () => new HoldfastError('NOT_AUTHORISED', 'not for you'),
      log: silent,
    },
    { host: '127.0.0.1', port: 0, tls, asksForCertificate: false },
  );
  t.teardown(async () => {
    watches.close();
    await door.close();
  });
  const send = async (role: Role, method: string, path: string, body?: object) => {
    const request = httpsRequest({
      host: '127.0.0.1',
      port: door.port,
      method,
      path: `/api/v1${path}`,
      rejectUnauthorized: false,
      agent: false,
      headers: { authorization: `Bearer ${role}` },
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return { request, response };
  };
  const ask = async (role: Role, method: string, path: string, body?: object) => {
    const { response } = await send(role, method, path, body);
    return { status: response.statusCode, json: JSON.parse(await text(response)) };
  };
  /** Lines of a watch as they come. */
  const watch = async (path = `${shadow}/watch`) => {
    const { request, response } = await send('viewer', 'GET', path);
    const lines = linesOf(response);
    return {
      response,
      next: async (): Promise<unknown> => (await lines.next()).value,
      leave: () => request.destroy(),
    };
  };
  return { ...site, site, ask, watch, watches, signedOut, fence: () => (isFenced = true) };
};

async function* linesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<unknown> {
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line);
  }
}

const meet = async ({ site }: Awaited<ReturnType<typeof openDoor>>): Promise<void> => {
  site.trusted = false;
  await site.shadows.request(update({ desired: { level: 4 } }, { writer: 'site:ann' }));
  site.trusted = true;
  await site.order(cloudWrites(emptyShadow, 7_000, desired(9)));
};

t.test(
  'a viewer sees conflicts, a technician settles them, and both are told why not',
  async (t) => {
    const door = await openDoor(t);
    await meet(door);
    const { json } = await door.ask('viewer', 'GET', '/conflicts');
    t.match(json, {
      conflicts: [
        {
          conflict: /^[0-9a-f]{64}$/,
          shadow: 'devices/pi-1/shadows/-',
          path: ['desired', 'level'],
          winner: { writer: 'cloud', at: 7_000, trusted: true, value_json: '9' },
          loser: { writer: 'site:ann', trusted: false, value_json: '4' },
          settlement: null,
        },
      ],
      dropped: null,
    });
    const loser = { path: ['desired', 'level'], keep: 'loser' };
    t.match(await door.ask('viewer', 'POST', `${shadow}/settle`, loser), { status: 403 });
    t.match(await door.ask('technician', 'POST', `${shadow}/settle`, { ...loser, keep: 'both' }), {
      status: 400,
      json: { message: /winner or loser/ },
    });
    t.match(await door.ask('technician', 'POST', `${shadow}/settle`, loser), {
      status: 200,
      json: { desired: { level: 4 } },
    });
    t.match(await door.ask('technician', 'POST', `${shadow}/settle`, loser), {
      status: 404,
      json: { code: 'RESOURCE_NOT_FOUND', next: 'holdfast --gateway shadow conflicts pi-1' },
    });
    t.match(await door.ask('viewer', 'GET', '/conflicts'), { json: { conflicts: [] } });
    t.match(await door.ask('viewer', 'GET', '/conflicts?state=all&device=pi-1'), {
      json: { conflicts: [{ settlement: { kept: 'loser', by: 'site:a-technician', at: 5_000 } }] },
    });
    t.match(await door.ask('viewer', 'GET', '/conflicts?device=pi-9'), { status: 404 });
    t.match(await door.ask('viewer', 'GET', '/conflicts?page_token=x'), { status: 400 });
    door.fence();
    t.match(await door.ask('technician', 'POST', `${shadow}/settle`, loser), { status: 409 });
  },
);

t.test('says where the winner stands if it is not the very leaf', async (t) => {
  const door = await openDoor(t);
  await door.shadows.request(update({ desired: { net: { a: 1 } } }, { writer: 'site:ann' }));
  await door.site.order(
    cloudWrites(emptyShadow, 7_000, { path: ['desired', 'net'], value: 'off' }),
  );
  t.match((await door.ask('viewer', 'GET', '/conflicts')).json.conflicts, [
    { path: ['desired', 'net', 'a'], winner: { value_json: '"off"', path: ['desired', 'net'] } },
  ]);
});

t.test('pages through what changed, and says how far back it goes', async (t) => {
  const door = await openDoor(t);
  for (let n = 1; n <= 5; n += 1) await door.shadows.request(update({ reported: { n } }));
  await door.shadows.request(update({ desired: { a: 1 } }, { writer: 'site:ann' }));
  const first = await door.ask('viewer', 'GET', `${shadow}/changes?page_size=4`);
  t.match(first.json, {
    changes: [
      { version: 6, writer: 'site:ann', changes: [{ path: ['desired', 'a'], after: 1 }] },
      { version: 5, changes: [{ before: 4, after: 5 }] },
    ],
    complete_after_version: 0,
    dropped: null,
  });
  const token = encodeURIComponent(first.json.next_page_token);
  const second = await door.ask(
    'viewer',
    'GET',
    `${shadow}/changes?page_size=4&page_token=${token}`,
  );
  t.match(second.json, { changes: [{ version: 2 }, { version: 1 }], next_page_token: '' });
  const path = encodeURIComponent('["desired"]');
  t.match(await door.ask('viewer', 'GET', `${shadow}/changes?path=${path}&from_version=2`), {
    json: { changes: [{ version: 6 }] },
  });
  for (const wrong of ['since=x', 'path=desired', 'page_token=a', 'from_version=-1']) {
    t.match(await door.ask('viewer', 'GET', `${shadow}/changes?${wrong}`), { status: 400 }, wrong);
  }
  await door.ask('technician', 'DELETE', shadow);
  t.match(await door.ask('viewer', 'GET', shadow), {
    json: { reported: { n: 5 }, desired: undefined },
  });
  t.match(await door.ask('viewer', 'GET', '/devices/pi-1/shadows'), {
    json: { shadows: ['-'], states: [{ shadow: '-', version: 7, conflicts: 0 }] },
  });
});

t.test('a watch tells changes line by line, and goes on from a position', async (t) => {
  const door = await openDoor(t);
  await door.shadows.request(update({ reported: { n: 1 } }));
  const watched = await door.watch();
  t.equal(watched.response.headers['content-type'], 'application/x-ndjson');
  t.match(await watched.next(), { watching: { version: 1, position: '1.1' } });
  await door.shadows.request(update({ reported: { n: 2 } }));
  t.match(await watched.next(), { change: { position: '2.2', version: 2 } });
  watched.leave();
  await door.shadows.request(update({ reported: { n: 3 } }));
  const again = await door.watch(`${shadow}/watch?after=2.2`);
  await again.next();
  t.match(await again.next(), { change: { version: 3, changes: [{ before: 2, after: 3 }] } });
  again.leave();
});

t.test('a watch ends with the session that asked for it, and with the door', async (t) => {
  const door = await openDoor(t, { aliveMs: 5 });
  const watched = await door.watch();
  t.match(await watched.next(), { watching: { version: 0 } });
  t.match(await watched.next(), { alive: 5_000 });
  door.signedOut.add('viewer');
  while ((await watched.next()) !== undefined);
  t.ok(watched.response.complete, 'it ended in order');
  door.signedOut.clear();
  const other = await door.watch();
  await other.next();
  door.watches.close();
  while ((await other.next()) !== undefined);
  t.ok(other.response.complete);
});

/** The next watch that is let in. */
const letIn = async (open: () => ReturnType<Awaited<ReturnType<typeof openDoor>>['watch']>) => {
  for (;;) {
    const next = await open();
    if (next.response.statusCode === 200) return next;
    next.response.resume();
  }
};

t.test('only so many watch at once', async (t) => {
  const door = await openDoor(t, { maxWatches: 2 });
  const open = [await door.watch(), await door.watch()];
  t.match(await door.ask('viewer', 'GET', `${shadow}/watch`), { status: 429 });
  open[0]?.leave();
  await letIn(() => door.watch());
});

t.test('a reader that takes nothing is cut off, and what it missed is there', async (t) => {
  const door = await openDoor(t, { stalledMs: 20, maxWatches: 1 });
  const watched = await door.watch();
  t.match(await watched.next(), { watching: {} });
  // More than the sockets between them hold.
  const text = 'x'.repeat(28_000);
  let version = 0;
  for (let n = 1; n <= 400; n += 20) {
    const outcomes = await Promise.all(
      [...Array(20).keys()].map((more) =>
        door.shadows.request(update({ reported: { text: `${n + more}${text}` } })),
      ),
    );
    version += outcomes.filter(({ accepted }) => accepted).length;
  }
  const again = await letIn(() => door.watch());
  t.match(await again.next(), { watching: { version } }, 'the first is gone');
  again.leave();
  const seen: number[] = [];
  await t.rejects(
    async () => {
      for (;;) {
        const { change } = (await watched.next()) as { change: { version: number } };
        seen.push(change.version);
      }
    },
    { code: 'ECONNRESET' },
  );
  const last = seen.at(-1) ?? 0;
  t.ok(last < version, 'it was behind');
  const rest = await door.ask(
    'viewer',
    'GET',
    `${shadow}/changes?from_version=${last}&to_version=${last + 3}`,
  );
  t.same(
    rest.json.changes.map((change: { version: number }) => change.version),
    [last + 3, last + 2, last + 1],
  );
});
