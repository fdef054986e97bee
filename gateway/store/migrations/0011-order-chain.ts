/** The hash chain of the orders. What was committed before has none, and so is met with a new log. */
export const orderChain = {
  name: '0011-order-chain',
  sql: `ALTER TABLE order_positions ADD COLUMN chain BLOB NOT NULL DEFAULT x'';`,
};
