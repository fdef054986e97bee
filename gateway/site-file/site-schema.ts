/**
 * The JSON Schema of a site file, made of the configuration's schema: editors complete and check by it. Run as a program it writes what
 * is committed of it, and the page of the settings.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { configurationReference } from '@holdfast/provisioning/program/reference';
import { toJsonSchema } from '@valibot/to-json-schema';
import { gatewayConfiguration } from '../configuration.js';

export const siteSchemaPath = fileURLToPath(new URL('../../site.schema.json', import.meta.url));
const pagePath = fileURLToPath(new URL('../../CONFIGURATION.md', import.meta.url));

/** As it is committed. */
export const siteSchemaText = (): string => {
  const { $schema: _, ...schema } = toJsonSchema(gatewayConfiguration, {
    // What a schema cannot say (that a device id is one) the program says.
    errorMode: 'ignore',
    typeMode: 'input',
    overrideSchema: ({ jsonSchema }) => described(jsonSchema),
  });
  return `${JSON.stringify(
    {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      title: 'Holdfast site file',
      description: 'The configuration of a gateway: holdfast site plan, holdfast site apply',
      ...schema,
    },
    null,
    2,
  )}\n`;
};

/** The description and the unit of a setting stand in its metadata, which JSON Schema does not know. */
const described = <T extends object>(schema: T): T => {
  if (!('setting' in schema)) return schema;
  const { setting, ...rest } = schema;
  const { description, unit } = setting as { description: string; unit?: string };
  const text = unit === undefined ? description : `${description} (${unit})`;
  return { ...rest, description: text } as unknown as T;
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(siteSchemaPath, siteSchemaText());
  writeFileSync(pagePath, configurationReference(gatewayConfiguration, 'holdfast-gateway'));
}
