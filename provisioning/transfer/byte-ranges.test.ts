import t from 'tap';
import { rangesOf } from './byte-ranges.js';

const range = (start: number, end: number) => ({ start, end });

t.test('reads one range, and takes the whole for whatever is none', async (t) => {
  const rows: [string | undefined, ReturnType<typeof rangesOf>][] = [
    [undefined, undefined],
    ['bytes=0-', [range(0, 99)]],
    ['bytes=10-19', [range(10, 19)]],
    ['Bytes=10-19', [range(10, 19)]],
    [' bytes= 10-19 ', [range(10, 19)]],
    ['bytes=90-500', [range(90, 99)]],
    ['bytes=-10', [range(90, 99)]],
    ['bytes=-500', [range(0, 99)]],
    ['bytes=99-99', [range(99, 99)]],
    ['bytes=0-99999999999999999999', [range(0, 99)]],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=99999999999999999999-', 'unsatisfiable'],
    ['bytes=20-10', undefined],
    ['bytes=-', undefined],
    ['bytes=', undefined],
    ['bytes=,', undefined],
    ['bytes 0-1', undefined],
    ['lines=0-1', undefined],
    ['bytes=a-b', undefined],
    ['bytes=0x1-0x2', undefined],
    ['bytes=1.5-2', undefined],
    ['bytes=-1-2', undefined],
    ['bytes=1-2-3', undefined],
    ['bytes=+1-2', undefined],
  ];
  for (const [header, expected] of rows) t.same(rangesOf(header, 100), expected, header ?? 'none');
});

t.test('reads several in the order in which they were asked for', async (t) => {
  const rows: [string, ReturnType<typeof rangesOf>][] = [
    ['bytes=0-1,5-6', [range(0, 1), range(5, 6)]],
    ['bytes=0-1 ,\t5-6', [range(0, 1), range(5, 6)]],
    ['bytes=,0-1,,5-6,', [range(0, 1), range(5, 6)]],
    ['bytes=50-59,-5,0-0', [range(50, 59), range(95, 99), range(0, 0)]],
    ['bytes=0-1,2-3', [range(0, 1), range(2, 3)]],
    ['bytes=0-9,5-14', [range(0, 9), range(5, 14)]],
    ['bytes=0-1,100-', [range(0, 1)]],
    ['bytes=200-,100-', 'unsatisfiable'],
    ['bytes=0-1,5-4', undefined],
    ['bytes=0-1,lines', undefined],
  ];
  for (const [header, expected] of rows) t.same(rangesOf(header, 100), expected, header);
});

t.test('takes the whole for a flood of ranges', async (t) => {
  const spread = (count: number) => Array.from({ length: count }, (_, i) => `${i * 10}-${i * 10}`);
  const ascending = (count: number) => `bytes=${spread(count).join(',')}`;
  const descending = (count: number) => `bytes=${spread(count).reverse().join(',')}`;
  const ranges = (header: string) => rangesOf(header, 10_000);
  t.equal(ranges(ascending(150))?.length, 150, 'SWUpdate asks for 150 at once');
  t.equal(ranges(ascending(256))?.length, 256);
  t.equal(ranges(ascending(257)), undefined, 'too many');
  t.equal(ranges(descending(16))?.length, 16);
  t.equal(ranges(descending(17)), undefined, 'many, and out of order');
  t.equal(ranges('bytes=0-,0-'), undefined, 'together more than the whole');
  t.equal(ranges('bytes=0-5,3-8,7-9'), undefined, 'more than two that overlap');
  t.equal(ranges(`bytes=${'0-0,'.repeat(200)}`), undefined, 'one byte again and again');
});
