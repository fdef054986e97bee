import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { buffer } from 'node:stream/consumers';
import t from 'tap';
import { cloudUnderTest } from '../testing/cloud-under-test.js';
import { enrolStandIn } from '../testing/gateway-stand-in.js';
import { uploadImage } from '../testing/upload-image.js';

t.test('serves images to gateways, whole and by range', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { key, cert, enrolled } = await enrolStandIn(cloud, 'a');
  const image = randomBytes(300_000);
  const { sha256 } = await uploadImage(cloud, image);
  const tag = `"${sha256}"`;
  const ask = async (
    headers: OutgoingHttpHeaders = {},
    { method = 'GET', digest = sha256, identity = { key, cert } as object } = {},
  ): Promise<IncomingMessage> => {
    const asked = request(`${enrolled.httpsAddress}/firmware/sha256/${digest}`, {
      ca: cloud.rootPem,
      method,
      headers,
      agent: false,
      ...identity,
    });
    asked.end();
    const [response] = await once(asked, 'response');
    return response;
  };
  const whole = await ask();
  t.equal(whole.statusCode, 200);
  t.match(whole.headers, { etag: tag, 'accept-ranges': 'bytes', 'content-length': '300000' });
  t.ok((await buffer(whole)).equals(image));

  const rest = await ask({ range: 'bytes=100000-', 'if-range': tag });
  t.equal(rest.statusCode, 206);
  t.equal(rest.headers['content-range'], 'bytes 100000-299999/300000');
  t.ok((await buffer(rest)).equals(image.subarray(100_000)));

  const head = await ask({}, { method: 'HEAD' });
  t.match(head, { statusCode: 200, headers: { 'content-length': '300000' } });
  t.equal((await buffer(head)).length, 0);
  for (const [headers, status, bytes] of [
    [{ range: 'bytes=-10' }, 206, 10],
    [{ range: 'bytes=5-9' }, 206, 5],
    [{ range: 'bytes=299999-400000' }, 206, 1],
    [{ range: 'bytes=300000-' }, 416, 0],
    [{ range: 'bytes=9-5' }, 200, 300_000],
    [{ range: 'bytes=0-1,5-6' }, 206, 270],
    [{ range: 'bytes=5-9', 'if-range': '"another"' }, 200, 300_000],
    [{ 'if-none-match': tag }, 304, 0],
  ] as const) {
    const response = await ask(headers);
    t.equal(response.statusCode, status, JSON.stringify(headers));
    t.equal((await buffer(response)).length, bytes, JSON.stringify(headers));
  }
  t.equal((await ask({}, { digest: 'f'.repeat(64) })).statusCode, 404);
  t.equal((await ask({}, { identity: {} })).statusCode, 401, 'nobody without a certificate');
});

t.test('a gateway that breaks off holds nothing up', async (t) => {
  const cloud = await cloudUnderTest(t);
  const { key, cert, enrolled } = await enrolStandIn(cloud, 'a');
  const image = randomBytes(8 * 1024 * 1024);
  const { sha256 } = await uploadImage(cloud, image);
  const url = `${enrolled.httpsAddress}/firmware/sha256/${sha256}`;
  const broken = request(url, { ca: cloud.rootPem, key, cert, agent: false });
  broken.end();
  const [response] = await once(broken, 'response');
  await once(response, 'readable');
  broken.destroy();
  const again = request(url, { ca: cloud.rootPem, key, cert, agent: false });
  again.end();
  const [whole] = await once(again, 'response');
  t.ok((await buffer(whole)).equals(image));
});
