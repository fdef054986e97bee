#!/usr/bin/env node
import { main } from '../dist/main.js';

// grpc-js and mqtt name IP addresses in SNI, of which Node warns; no operator can do anything about it.
process.noDeprecation = true;
await main();
