/** hawkBit's Direct Device Integration, line by line, by a plain HTTP client. */
import { createHash, randomBytes } from 'node:crypto';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { campaignBody } from '../../updates/updates-fixture.js';
import { imageBody, openTestDdi } from './test-ddi-site.js';

t.setTimeout(120_000);
const image = randomBytes(50_000);
const body = imageBody(image, { version: '2.0', file_name: 'pump.swu' });
const digest = (algorithm: string): string => createHash(algorithm).update(image).digest('hex');
const base = (device = 'pump-1', tenant = 'default') => `/${tenant}/controller/v1/${device}`;
const feedbackOf = (execution: string, finished = 'none', more: object = {}) => ({
  id: '1',
  time: '20260101T000000',
  status: { execution, result: { finished }, details: [], ...more },
});
const pathOf = (href: string): string => href.replace(/^https:\/\/[^/]+/, '');

const openSite = async (t: Test, options: { gatewayToken?: string } = {}) => {
  const site = await openTestDdi(t, {
    clock: new ManualClock(Date.now()),
    images: [image],
    ...options,
  });
  const token = await site.tokenFor('pump-1');
  const get = (path = '') => site.ask('GET', `${base()}${path}`, { token });
  const post = (path: string, said: object | string) =>
    site.ask('POST', `${base()}${path}`, { token, body: said });
  const begin = async () => {
    await get();
    await site.start({ c: { firmware: ['pump@2.0'] } }, [body]);
    const { json } = await get();
    const [, id] = /deploymentBase\/(\d+)\?c=/.exec(json._links.deploymentBase.href) ?? [];
    return { id: Number(id), href: pathOf(json._links.deploymentBase.href) };
  };
  return { ...site, token, get, post, begin };
};

t.test('who asks has a token of that device, or its certificate', async (t) => {
  const { ask, token, fleet, refusals, get } = await openSite(t, {
    gatewayToken: 'a token for all of them',
  });
  t.equal((await get()).status, 200);
  for (const authorization of [
    undefined,
    'TargetToken nonsense',
    `TargetToken ${token}x`,
    `Bearer ${token}`,
    token,
    'GatewayToken no',
    'GatewayToken a token for all of them',
  ]) {
    const answer = await ask('GET', base(), { headers: authorization ? { authorization } : {} });
    t.equal(answer.status, 401, authorization ?? 'nothing');
    t.equal(answer.headers['www-authenticate'], 'TargetToken');
  }
  t.equal((await ask('GET', base('pump-2'), { token })).status, 401, 'of another device');
  t.match(refusals.at(-1), { who: { device: 'pump-1' }, what: 'pump-2' });
  t.equal((await ask('GET', base('pump-1', 'other'), { token })).status, 404, 'no such tenant');
  const { tls } = await fleet.device('valve-1');
  t.equal((await ask('GET', base('valve-1'), { tls })).status, 200);
  t.equal(
    (await ask('GET', base('pump-1'), { tls })).status,
    401,
    'its certificate says who it is',
  );
});

t.test('a gateway token speaks for devices that are enrolled, where one is set', async (t) => {
  const gatewayToken = 'for-all-of-them-0123';
  const { ask } = await openSite(t, { gatewayToken });
  const headers = { authorization: `GatewayToken ${gatewayToken}` };
  t.equal((await ask('GET', base(), { headers })).status, 200);
  t.equal((await ask('GET', base('pump-9'), { headers })).status, 404);
});

t.test('many wrong tokens are told to wait, and good ones are let in all the same', async (t) => {
  const { ask, get } = await openSite(t);
  for (let i = 0; i < 20; i += 1) t.equal((await ask('GET', base(), { token: 'x' })).status, 401);
  const slowed = await ask('GET', base(), { token: 'x' });
  t.equal(slowed.status, 429);
  t.ok(Number(slowed.headers['retry-after']) > 0);
  t.equal((await get()).status, 200);
});

t.test('a device that asks without end is told to wait', async (t) => {
  const { get } = await openSite(t);
  let last = 200;
  for (let i = 0; i < 102 && last === 200; i += 1) last = (await get()).status;
  t.equal(last, 429);
});

t.test('one that is disabled, or whose token is taken, is refused', async (t) => {
  const { get, lifecycles, targetTokens } = await openSite(t);
  const decision = { reason: '', actor: 'site:anna' };
  await lifecycles.decide('pump-1', { action: 'disable', ...decision });
  t.equal((await get()).status, 403);
  await lifecycles.decide('pump-1', { action: 'enable', ...decision });
  t.equal((await get()).status, 200);
  await targetTokens.revoke('pump-1', 'site:anna');
  t.equal((await get()).status, 401);
});

t.test('GET base: when to ask again, and what there is to do', async (t) => {
  const { get, ask, token, start } = await openSite(t);
  const first = await get();
  t.equal(first.headers['content-type'], 'application/hal+json');
  t.equal(first.json.config.polling.sleep, '00:05:00');
  t.match(first.json._links.configData.href, /\/default\/controller\/v1\/pump-1\/configData$/);
  const told = { mode: 'merge', data: { colour: 'red' } };
  t.equal((await ask('PUT', `${base()}/configData`, { token, body: told })).status, 200);
  t.notOk('_links' in (await get()).json, 'left out when it is empty');
  await start({ c: { firmware: ['pump@2.0'] } }, [body]);
  const { json } = await get();
  t.equal(json.config.polling.sleep, '00:00:30', 'shorter while something waits');
  t.same(Object.keys(json._links), ['deploymentBase']);
  t.match(json._links.deploymentBase.href, /deploymentBase\/[1-9]\d{0,9}\?c=[0-9a-f]+$/);
  const name = { host: 'gateway.example:8443' };
  const named = await ask('GET', base(), { token, headers: name });
  t.match(named.json._links.deploymentBase.href, /^https:\/\/gateway\.example:8443\//);
  const odd = await ask('GET', base(), { token, headers: { host: 'a/b?c' } });
  t.match(odd.json._links.deploymentBase.href, /^https:\/\/127\.0\.0\.1:1\//);
});

t.test('GET deploymentBase: one chunk with one artifact, all its digests', async (t) => {
  const { begin, ask, token } = await openSite(t);
  const { id, href } = await begin();
  const { json, headers } = await ask('GET', href, { token });
  t.equal(headers['content-type'], 'application/hal+json');
  t.equal(json.id, String(id));
  t.match(json.deployment, { download: 'forced', update: 'forced' });
  t.equal(json.deployment.chunks.length, 1);
  t.match(json.deployment.chunks[0], { part: 'os', version: '2.0', name: 'pump' });
  const [artifact, ...others] = json.deployment.chunks[0].artifacts;
  t.same(others, []);
  t.match(artifact, {
    ...{ filename: 'pump.swu', size: image.length },
    hashes: { sha1: digest('sha1'), md5: digest('md5'), sha256: digest('sha256') },
  });
  t.equal(
    (await ask('GET', pathOf(artifact._links.md5sum.href), { token })).bytes.toString(),
    `${digest('md5')}  pump.swu\n`,
  );
  const listed = await ask('GET', `${base()}/softwaremodules/${id}/artifacts`, { token });
  t.same(listed.json, [artifact]);
  for (const wrong of ['1', '0', '-1', '3f2c', '4294967297', 'x']) {
    t.equal((await ask('GET', `${base()}/deploymentBase/${wrong}`, { token })).status, 404, wrong);
  }
});

t.test('artifacts: HEAD, ranges, several at once, entity tag, 416', async (t) => {
  const { begin, ask, token, statusOf } = await openSite(t);
  const { href } = await begin();
  const { json } = await ask('GET', href, { token });
  const path = pathOf(json.deployment.chunks[0].artifacts[0]._links.download.href);
  const tag = `"${digest('sha1')}"`;
  const head = await ask('HEAD', path, { token });
  t.match(head.headers, { 'content-length': '50000', 'accept-ranges': 'bytes', etag: tag });
  t.equal(await statusOf('pump-1'), 'offered', 'to ask how large it is begins nothing');
  const load = (headers: Record<string, string>) => ask('GET', path, { token, headers });
  const part = await load({ range: 'bytes=100-199' });
  t.equal(part.status, 206);
  t.same(part.bytes, image.subarray(100, 200));
  t.equal(await statusOf('pump-1'), 'downloading');
  const several = await load({ range: 'bytes=0-9,100-109' });
  t.match(String(several.headers['content-type']), /^multipart\/byteranges; boundary=[0-9a-z]+$/);
  t.ok(several.bytes.includes(image.subarray(100, 110)));
  t.equal((await load({ range: 'bytes=60000-' })).status, 416);
  t.equal((await load({ range: 'bytes=0-9', 'if-range': tag })).status, 206);
  t.equal(await statusOf('pump-1'), 'downloading', 'pieces here and there are not all of it');
  t.equal((await load({ range: 'bytes=0-9', 'if-range': '"another"' })).status, 200);
  t.same((await load({})).bytes, image);
  t.equal((await ask('GET', `${path}x`, { token })).status, 404);
  t.equal((await ask('GET', path)).status, 401);
});

t.test(
  'feedback: 200 with an empty body, 404 for what is not known, 410 when it is over',
  async (t) => {
    const { begin, post, statusOf } = await openSite(t);
    const { id } = await begin();
    const path = `/deploymentBase/${id}/feedback`;
    const said = await post(path, feedbackOf('proceeding'));
    t.equal(said.status, 200);
    t.equal(said.bytes.length, 0);
    t.equal((await post('/deploymentBase/77/feedback', feedbackOf('proceeding'))).status, 404);
    for (const wrong of [
      '',
      '{',
      '[]',
      '{"status":{}}',
      feedbackOf('done'),
      feedbackOf('closed', 'x'),
    ]) {
      t.equal((await post(path, wrong)).status, 400, JSON.stringify(wrong));
    }
    const more = { unknown: [1, { a: null }], progress: undefined };
    t.equal((await post(path, { ...feedbackOf('scheduled', 'none', more), more })).status, 200);
    t.equal((await post(path, feedbackOf('closed', 'failure'))).status, 200);
    t.equal(await statusOf('pump-1'), 'queued', 'another attempt is left');
    t.equal((await post(path, feedbackOf('proceeding'))).status, 410);
  },
);

t.test('what each feedback makes of an execution', async (t) => {
  const table: [string, string, object, string][] = [
    ['scheduled', 'none', {}, 'offered'],
    ['resumed', 'none', {}, 'offered'],
    ['download', 'none', {}, 'downloading'],
    ['downloaded', 'success', {}, 'verifying'],
    ['proceeding', 'none', { progress: { cnt: 0, of: 2 } }, 'downloading'],
    ['proceeding', 'none', { progress: { cnt: 2, of: 2 } }, 'rebooting'],
    ['closed', 'success', {}, 'confirming'],
    ['closed', 'none', {}, 'confirming'],
    ['closed', 'failure', {}, 'failed'],
    ['rejected', 'none', {}, 'failed'],
    ['canceled', 'none', {}, 'failed'],
  ];
  const { ask, tokenFor, start, statusOf } = await openSite(t);
  const devices = await Promise.all(
    table.map(async (row, i) => ({
      row,
      device: `pump-x${i}`,
      token: await tokenFor(`pump-x${i}`),
    })),
  );
  for (const { device, token } of devices) await ask('GET', base(device), { token });
  const policy = { ...campaignBody().policy, site_concurrency: 100, retries: 0 };
  await start({ c: { firmware: ['pump@2.0'], policy } }, [body]);
  for (const { row, device, token } of devices) {
    const [execution, finished, result, expected] = row;
    const { json } = await ask('GET', base(device), { token });
    const [, id] = /deploymentBase\/(\d+)\?c=/.exec(json._links.deploymentBase.href) ?? [];
    const said = { ...feedbackOf(execution, finished, { details: ['why'] }) };
    Object.assign(said.status.result, result);
    const path = `${base(device)}/deploymentBase/${id}/feedback`;
    t.equal((await ask('POST', path, { token, body: said })).status, 200);
    t.equal(
      await statusOf(device),
      expected,
      `${execution}, ${finished} ${JSON.stringify(result)}`,
    );
  }
});

t.test('a feedback whose messages are no JSON counts without them', async (t) => {
  const { begin, post, updates } = await openSite(t);
  const { id } = await begin();
  const broken = `{"id":${id},"status":{"execution":"closed","result":{"finished":"failure"},"details":["ERROR: it is "bad"\n]"]}}`;
  t.equal((await post(`/deploymentBase/${id}/feedback`, broken)).status, 200);
  const view = await updates.executionOf('pump-1', 'c');
  t.match(view?.execution, { status: 'queued', error: /it is "bad"/ });
});

t.test('SWUpdate: installed, restarted, confirmed, which proves the restart', async (t) => {
  const { begin, get, post, statusOf, devices, updates } = await openSite(t);
  const { id, href } = await begin();
  const feedback = (said: object) => post(`/deploymentBase/${id}/feedback`, said);
  await feedback(
    feedbackOf('proceeding', 'none', { result: { finished: 'none', progress: { cnt: 0, of: 1 } } }),
  );
  await feedback(
    feedbackOf('proceeding', 'none', { result: { finished: 'none', progress: { cnt: 1, of: 1 } } }),
  );
  await feedback(feedbackOf('proceeding', 'none', { details: ['its log, which comes late'] }));
  t.equal(await statusOf('pump-1'), 'rebooting');
  t.equal(
    (await get()).json._links.deploymentBase.href.endsWith(href),
    true,
    'so that it can confirm',
  );
  t.equal((await feedback(feedbackOf('closed', 'success'))).status, 200);
  t.equal(await statusOf('pump-1'), 'succeeded');
  t.equal(devices.get('pump-1')?.firmwareVersion, '2.0');
  t.equal((await feedback(feedbackOf('closed', 'success'))).status, 200, 'its answer was lost');
  t.equal((await feedback(feedbackOf('closed', 'failure'))).status, 410);
  t.notOk((await get()).json._links?.deploymentBase);
  const installed = await get(`/installedBase/${id}`);
  t.equal(installed.json.deployment.chunks[0].version, '2.0');
  t.equal((await updates.executionOf('pump-1', 'c'))?.number, id);
});

t.test(
  'SWUpdate that says closed without having asked since is not taken for another run',
  async (t) => {
    const { begin, post, statusOf } = await openSite(t);
    const { id } = await begin();
    const all = { result: { finished: 'none', progress: { cnt: 1, of: 1 } } };
    await post(`/deploymentBase/${id}/feedback`, feedbackOf('proceeding', 'none', all));
    await post(`/deploymentBase/${id}/feedback`, feedbackOf('closed', 'success'));
    t.equal(await statusOf('pump-1'), 'confirming');
  },
);

t.test('SWUpdate that comes up with a failure has gone back', async (t) => {
  const { begin, get, post, statusOf } = await openSite(t);
  const { id } = await begin();
  const all = { result: { finished: 'none', progress: { cnt: 1, of: 1 } } };
  await post(`/deploymentBase/${id}/feedback`, feedbackOf('proceeding', 'none', all));
  await get();
  await post(`/deploymentBase/${id}/feedback`, feedbackOf('closed', 'failure'));
  t.equal(await statusOf('pump-1'), 'rolled_back');
});

t.test("RAUC's updater: closed before the restart, proven by the version after it", async (t) => {
  const { begin, get, post, ask, token, statusOf } = await openSite(t);
  const tell = (version: string) =>
    ask('PUT', `${base()}/configData`, {
      token,
      body: { ...feedbackOf('closed', 'success'), data: { version } },
    });
  await tell('1.0');
  const { id } = await begin();
  const feedback = (said: object) => post(`/deploymentBase/${id}/feedback`, said);
  await feedback(feedbackOf('proceeding', 'none', { details: ['Download complete.'] }));
  await feedback(feedbackOf('downloaded', 'success', { details: ['File checksum OK.'] }));
  for (let i = 0; i < 20; i += 1) {
    await feedback(feedbackOf('proceeding', 'none', { details: [`${i * 5}% Copying image`] }));
  }
  await feedback(feedbackOf('closed', 'success', { details: ['Software bundle installed.'] }));
  t.equal(await statusOf('pump-1'), 'confirming', 'it has not restarted yet');
  const { json } = await get();
  t.same(Object.keys(json._links), ['configData'], 'not told again, and asked what it runs');
  await tell('1.0');
  t.equal(await statusOf('pump-1'), 'confirming', 'it may not have restarted yet');
  await get();
  await tell('2.0');
  t.equal(await statusOf('pump-1'), 'succeeded');
});

t.test('cancelAction: taken back, acknowledged, refused', async (t) => {
  const cancel = async (t: Test) => {
    const site = await openSite(t);
    const { id, href } = await site.begin();
    await site.post(`/deploymentBase/${id}/feedback`, feedbackOf('download'));
    await site.start({ c: { firmware: ['pump@2.0'], state: 'cancelling' } }, [body]);
    const path = `/cancelAction/${id}`;
    return { ...site, id, href, path };
  };
  await t.test('acknowledged', async (t) => {
    const { get, post, path, id, statusOf } = await cancel(t);
    const { _links } = (await get()).json;
    t.notOk(_links.deploymentBase, 'at most one of them');
    t.match(_links.cancelAction.href, /\/cancelAction\/\d+$/, 'without a query');
    t.same((await get(path)).json, {
      id: String(id),
      cancelAction: { stopId: String(id) },
    });
    await post(`/deploymentBase/${id}/feedback`, feedbackOf('proceeding'));
    t.equal(await statusOf('pump-1'), 'cancelling', 'it did not know yet');
    const answer = await post(`${path}/feedback`, feedbackOf('closed', 'success'));
    t.equal(answer.status, 200);
    t.equal(answer.bytes.length, 0);
    t.equal(await statusOf('pump-1'), 'cancelled');
    t.notOk((await get()).json._links?.cancelAction);
    t.equal((await get(path)).status, 404);
    t.equal((await get(`/deploymentBase/${id}`)).status, 404);
  });
  await t.test('refused: what it has begun goes on', async (t) => {
    const { get, post, path, id, statusOf } = await cancel(t);
    await get();
    t.equal((await post(`${path}/feedback`, feedbackOf('rejected', 'success'))).status, 200);
    const { _links } = (await get()).json;
    t.ok(_links.deploymentBase);
    t.notOk(_links.cancelAction);
    const all = { result: { finished: 'none', progress: { cnt: 1, of: 1 } } };
    await post(`/deploymentBase/${id}/feedback`, feedbackOf('proceeding', 'none', all));
    await get();
    await post(`/deploymentBase/${id}/feedback`, feedbackOf('closed', 'success'));
    t.equal(await statusOf('pump-1'), 'succeeded');
  });
  await t.test('failed: it is over', async (t) => {
    const { get, post, path, updates } = await cancel(t);
    await get();
    await post(`${path}/feedback`, feedbackOf('closed', 'failure', { details: ['busy'] }));
    t.match((await updates.executionOf('pump-1', 'c'))?.execution, {
      status: 'cancelled',
      error: 'busy',
    });
  });
});

t.test('what was not begun is taken back without asking', async (t) => {
  const { begin, get, start, statusOf } = await openSite(t);
  const { id } = await begin();
  await start({ c: { firmware: ['pump@2.0'], state: 'cancelling' } }, [body]);
  t.equal(await statusOf('pump-1'), 'cancelled');
  t.notOk((await get()).json._links?.deploymentBase);
  t.equal((await get(`/deploymentBase/${id}`)).status, 404);
});

t.test(
  'what was taken back while it loads, as by the stop of everything, is cancelled first',
  async (t) => {
    const { begin, get, post, updates, statusOf } = await openSite(t);
    const { id } = await begin();
    await post(`/deploymentBase/${id}/feedback`, feedbackOf('download'));
    await updates.controls.stopAll('anna', 'smoke');
    t.equal(await statusOf('pump-1'), 'queued');
    const { _links } = (await get()).json;
    t.match(_links.cancelAction.href, new RegExp(`/cancelAction/${id}$`));
    t.notOk(_links.deploymentBase);
    t.equal((await get(`/cancelAction/${id}`)).json.cancelAction.stopId, String(id));
    t.equal((await get(`/softwaremodules/${id}/artifacts/pump.swu`)).status, 404);
    t.equal((await post(`/deploymentBase/${id}/feedback`, feedbackOf('proceeding'))).status, 410);
    t.equal(
      (await post(`/cancelAction/${id}/feedback`, feedbackOf('closed', 'success'))).status,
      200,
    );
    t.notOk((await get()).json._links?.cancelAction);
  },
);

t.test('a window that is closed hides what was not begun, and nothing else', async (t) => {
  const { begin, get, post, closeWindow } = await openSite(t);
  const { id } = await begin();
  const closed = { reason: 'nights', opening: null } as never;
  closeWindow(closed);
  t.notOk((await get()).json._links?.deploymentBase);
  t.equal((await get(`/deploymentBase/${id}`)).status, 404);
  closeWindow(undefined);
  t.ok((await get()).json._links.deploymentBase);
  await post(`/deploymentBase/${id}/feedback`, feedbackOf('download'));
  closeWindow(closed);
  t.ok((await get()).json._links.deploymentBase);
});

t.test(
  'PUT configData: merged, replaced, removed; told as the attributes of its shadow',
  async (t) => {
    const { ask, token, shadows, devices } = await openSite(t);
    const put = (said: object) => ask('PUT', `${base()}/configData`, { token, body: said });
    const attributes = async () =>
      (await shadows.get({ device: 'pump-1', name: classicShadow }))?.state.reported?.attributes;
    const answer = await put({
      id: '',
      data: { version: '1.4', hw_revision: 'b', serial: '77', model: 'other' },
    });
    t.equal(answer.status, 200);
    t.equal(answer.bytes.length, 0);
    t.same(await attributes(), { version: '1.4', hw_revision: 'b', serial: '77', model: 'other' });
    t.match(devices.get('pump-1'), {
      ...{ firmwareVersion: '1.4', hardware: 'b', serialNo: '77', model: 'pump' },
    });
    await put({ mode: 'merge', data: { colour: 'red' } });
    t.match(await attributes(), { version: '1.4', colour: 'red' });
    await put({ mode: 'remove', data: { colour: '', serial: '' } });
    t.same(Object.keys(Object(await attributes())).sort(), [
      ...['hw_revision', 'model', 'version'],
    ]);
    await put({ mode: 'replace', data: { version: '1.5', level: 3, on: true } });
    t.same(await attributes(), { version: '1.5', level: '3', on: 'true' });
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`k${i}`, 'v']));
    for (const wrong of [
      {},
      { data: many },
      { data: { a: 'x'.repeat(300) } },
      { data: { a: [] } },
    ]) {
      t.equal((await put(wrong)).status, 400, JSON.stringify(wrong).slice(0, 60));
    }
  },
);

t.test(
  'PUT installedBase: what it says it runs; GET confirmationBase: nothing to ask',
  async (t) => {
    const { ask, token, devices, get } = await openSite(t);
    const installed = { name: 'pump', version: '1.9' };
    t.equal((await ask('PUT', `${base()}/installedBase`, { token, body: installed })).status, 200);
    t.equal(devices.get('pump-1')?.firmwareVersion, '1.9');
    t.same((await get('/confirmationBase')).json, { autoConfirm: { active: true } });
  },
);

t.test('a job without firmware is told to nobody, and fails in words', async (t) => {
  const { get, start, updates } = await openSite(t);
  await get();
  await start({ c: { firmware: [], document: { operation: 'dance' } } }, []);
  t.notOk((await get()).json._links?.deploymentBase);
  t.match((await updates.executionOf('pump-1', 'c'))?.execution.error, /no words/);
});

t.test('what is not asked for properly is refused before anything is read', async (t) => {
  const { ask, token, port } = await openSite(t);
  t.equal((await ask('DELETE', base(), { token })).status, 405);
  t.equal((await ask('GET', `${base()}/nothing`, { token })).status, 404);
  const large = JSON.stringify({ data: { a: 'x'.repeat(70_000) } });
  t.equal((await ask('PUT', `${base()}/configData`, { token, body: large })).status, 413);
  t.ok(port > 0);
});
