/** Totals of the counters on the gateway's own GPIO lines, by the names of the lines. */
export const gpioCounters = {
  name: '0028-gpio-counters',
  sql: `
CREATE TABLE gpio_counters (
  name TEXT PRIMARY KEY,
  total INTEGER NOT NULL,
  kept_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
