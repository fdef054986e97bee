import t from 'tap';
import { cutPage, readPage } from './page.js';

t.test('pages a listing from its beginning to its end', async (t) => {
  const all = ['a', 'b', 'c', 'd', 'e'];
  const seen: string[] = [];
  let pageToken = '';
  do {
    const page = readPage({ pageSize: 2, pageToken }, 'letters', ['']);
    const after = page.after?.[0] ?? '';
    const rows = all.filter((letter) => letter > after).slice(0, page.limit + 1);
    const cut = cutPage(rows, page, 'letters', (letter) => [letter]);
    seen.push(...cut.rows);
    pageToken = cut.nextPageToken;
  } while (pageToken !== '');
  t.same(seen, all);
});

t.test('bounds the size of a page', async (t) => {
  t.equal(readPage({ pageSize: 0, pageToken: '' }, 's', ['']).limit, 100);
  t.equal(readPage({ pageSize: 5_000, pageToken: '' }, 's', ['']).limit, 1_000);
  t.throws(() => readPage({ pageSize: -1, pageToken: '' }, 's', ['']), { code: 'REQUEST_INVALID' });
});

t.test('refuses a token of another listing, and what is no token', async (t) => {
  const { nextPageToken } = cutPage([1, 2], { limit: 1 }, 'numbers', (n) => [n]);
  t.same(readPage({ pageSize: 1, pageToken: nextPageToken }, 'numbers', [0]).after, [1]);
  const refused = [nextPageToken.slice(1), 'x', 'bnVsbA', 'a'.repeat(5_000)];
  for (const pageToken of refused) {
    t.throws(() => readPage({ pageSize: 1, pageToken }, 'numbers', [0]), {
      code: 'REQUEST_INVALID',
    });
  }
  t.throws(() => readPage({ pageSize: 1, pageToken: nextPageToken }, 'others', [0]), {
    code: 'REQUEST_INVALID',
  });
  t.throws(() => readPage({ pageSize: 1, pageToken: nextPageToken }, 'numbers', ['']), {
    code: 'REQUEST_INVALID',
  });
});
