/** The real program, a technician who makes a token, and a device that has nothing else. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openSiteUnderTest } from '../../trust/site-under-test.js';

const gatewayToken = 'speaks-for-all-of-them';
const folder = await mkdtemp(join(tmpdir(), 'holdfast-ddi-token-'));
await writeFile(join(folder, 'token'), `${gatewayToken}\n`);
const site = await openSiteUnderTest({
  HOLDFAST_DDI__TENANTS: 'plant,default',
  HOLDFAST_DDI__POLL_S: '90',
  HOLDFAST_DDI__GATEWAY_TOKEN_FILE: join(folder, 'token'),
});
t.teardown(async () => {
  await site.close();
  await rm(folder, { recursive: true });
});

const poll = (device: string, authorization: string, tenant = 'plant') =>
  new Promise<{ status: number; text: string }>((resolve, reject) => {
    const asked = request(
      {
        ...{ host: '127.0.0.1', port: site.port('https'), headers: { authorization } },
        // Taking a token cuts what is open by it.
        agent: false,
        path: `/${tenant}/controller/v1/${device}`,
        ca: site.fleet.root.certificate.pem,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    asked.once('error', reject);
    asked.end();
  });

t.test('a token enrols a device, lets it in, and outlives the program', async (t) => {
  t.equal((await site.ask('POST', '/api/v1/devices/pump-1/token', {})).status, 400, 'no model');
  const made = await site.ask('POST', '/api/v1/devices/pump-1/token', { model: 'pump' });
  t.match(made.body, { device: 'pump-1', enrolled: true, replaced: false, tenant: 'plant' });
  t.match(made.body.url, /^https:\/\/.+:\d+$/);
  t.equal(made.body.root, site.fleet.root.certificate.pem);
  const authorization = `TargetToken ${made.body.token}`;
  const { status, text } = await poll('pump-1', authorization);
  t.equal(status, 200);
  t.match(JSON.parse(text), { config: { polling: { sleep: '00:01:30' } } });
  t.equal((await poll('pump-1', authorization, 'default')).status, 200);
  t.equal((await poll('pump-1', authorization, 'other')).status, 404);
  t.equal((await poll('pump-2', authorization)).status, 401);
  const shown = await site.ask('GET', '/api/v1/devices/pump-1');
  t.match(shown.body, { model: 'pump', online: true, door: 'ddi' });
  t.equal((await poll('pump-1', `GatewayToken ${gatewayToken}`)).status, 200);
  t.equal((await poll('pump-9', `GatewayToken ${gatewayToken}`)).status, 404);

  await site.restart('kill');
  t.equal((await poll('pump-1', authorization)).status, 200);
  t.match((await site.ask('GET', '/api/v1/devices/pump-1/token')).body, { device: 'pump-1' });
  t.equal((await site.ask('DELETE', '/api/v1/devices/pump-1/token')).status, 200);
  t.equal((await poll('pump-1', authorization)).status, 401);
  t.equal((await site.ask('GET', '/api/v1/devices/pump-1/token')).status, 404);
  const told = await site.read<{ body: string }>(
    `SELECT body FROM journal_audit WHERE kind = 'target_token' ORDER BY seq`,
  );
  t.match(
    told.map(({ body }) => JSON.parse(body)),
    [{ action: 'made' }, { action: 'revoked' }],
  );
});
