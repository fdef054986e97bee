/** Which revision of the hardware a device says it is. */
export const deviceHardware = {
  name: '0026-device-hardware',
  sql: `
ALTER TABLE devices ADD COLUMN hardware TEXT;
`,
};
