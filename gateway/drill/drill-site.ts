/** The site of the drill: a gateway that is switched off and on again over its folder, its people, and the line to its control plane. */

import { Agent } from 'node:https';
import { join } from 'node:path';
import { Closers } from '@holdfast/provisioning/program/closers';
import { createLogger } from '@holdfast/provisioning/program/logger';
import { type Database, openDatabase } from '@holdfast/provisioning/storage/database';
import axios from 'axios';
import * as v from 'valibot';
import { gatewayConfiguration } from '../configuration.js';
import { openGateway } from '../gateway.js';
import type { VirtualTime } from './virtual-time.js';

export interface DrillSiteOptions {
  readonly dataDir: string;
  readonly operatorToken: string;
  readonly rootPem: string;
}

/** What differs from the settings of a gateway. */
export interface DrillSiteSettings {
  readonly certificates?: Readonly<Record<string, number>>;
}

const log = createLogger({ program: 'drill', level: 'silent', to: { write: () => undefined } });

export class DrillSite {
  readonly #time: VirtualTime;
  readonly #options: DrillSiteOptions;
  readonly #settings: DrillSiteSettings;
  #closers: Closers | undefined;
  #ports = { mqtts: 0, https: 0, console: 0 };

  constructor(time: VirtualTime, options: DrillSiteOptions, settings: DrillSiteSettings = {}) {
    this.#time = time;
    this.#options = options;
    this.#settings = settings;
  }

  /** The machine is switched on. */
  async switchOn({ isLost }: { readonly isLost: boolean }): Promise<void> {
    const closers = new Closers({ log });
    this.#closers = closers;
    const { ports } = await openGateway(
      {
        log,
        onClose: (name, close) => closers.add(name, close),
        fail: (error) => {
          throw error;
        },
        schedule: this.#time.schedule.schedule,
        machine: this.#time.startMachine({ isLost }),
      },
      { dataDir: this.#options.dataDir, version: '0.0.0', configuration: this.#configuration() },
    );
    const { mqtts = 0, https = 0, console: people = 0 } = ports;
    this.#ports = { mqtts, https, console: people };
  }

  async switchOff(): Promise<void> {
    await this.#closers?.close();
  }

  /** Asks the door for people, as the operator. */
  async ask<T>(method: 'GET' | 'PATCH' | 'POST', path: string, body?: object): Promise<T> {
    const { rootPem, operatorToken } = this.#options;
    const httpsAgent = new Agent({ ca: rootPem, rejectUnauthorized: false });
    const { data } = await axios.request<T>({
      ...{ method, data: body, httpsAgent, proxy: false },
      url: `https://127.0.0.1:${this.#ports.console}/api/v1/${path}`,
      headers: { authorization: `Bearer ${operatorToken}` },
    });
    httpsAgent.destroy();
    return data;
  }

  /** What is committed in a database of the site. */
  async read<T>(name: 'site.db' | 'telemetry.db', sql: string): Promise<T[]> {
    const path = join(this.#options.dataDir, name);
    const database: Database = await openDatabase({ path, readOnly: true });
    try {
      return await database.all<T>(sql);
    } finally {
      await database.close();
    }
  }

  #configuration() {
    const { mqtts, https, console: consolePort } = this.#ports;
    return v.parse(gatewayConfiguration, {
      listen: { host: '127.0.0.1', mqttsPort: mqtts, httpsPort: https, consolePort },
      names: { hosts: ['127.0.0.1'] },
      link: { firstRetryMs: 100, mostRetryMs: 1_000 },
      ...this.#settings,
    });
  }
}
