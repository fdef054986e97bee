#!/usr/bin/env node
import { runDevice } from '../dist/agent/main.js';

// grpc-js and mqtt name IP addresses in SNI, of which Node warns; no operator can do anything about it.
process.noDeprecation = true;
await runDevice();
