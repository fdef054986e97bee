import t from 'tap';
import { errorCodes } from './codes.js';
import { HoldfastError, isHoldfastError, messageOf } from './holdfast-error.js';

t.test('carries its code, data and cause, and says whether to retry', async (t) => {
  const cause = new Error('ECONNREFUSED');
  const error = new HoldfastError('CONNECTION_FAILED', 'no answer', { cause, data: { port: 1 } });
  t.equal(error.cause, cause);
  t.equal(error.isRetryable, true);
  t.same(JSON.parse(JSON.stringify(error)), {
    code: 'CONNECTION_FAILED',
    message: 'no answer',
    data: { port: 1 },
  });
  t.ok(isHoldfastError(error, 'CONNECTION_FAILED'));
  t.notOk(isHoldfastError(error, 'INTERNAL'));
  t.notOk(isHoldfastError(cause));
});

t.test('reads a message out of whatever was thrown', async (t) => {
  t.equal(messageOf(new Error('x')), 'x');
  t.equal(messageOf('y'), 'y');
});

t.test('the table is sorted, so that a code is found and added in one place', async (t) => {
  const codes = Object.keys(errorCodes);
  t.same(codes, [...codes].sort());
});
