/**
 * What a renewal goes by: whether the device renews by itself, and the certificate in PEM, which is given again when its answer was
 * lost. NULL for certificates from before.
 */
export const renewals = {
  name: '0016-renewals',
  sql: `
ALTER TABLE device_certificates ADD COLUMN renews INTEGER;
ALTER TABLE device_certificates ADD COLUMN pem TEXT;
CREATE INDEX device_certificates_by_use ON device_certificates (device_id, issued_at) WHERE first_used_at IS NOT NULL;
`,
};
