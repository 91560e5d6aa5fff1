export { closeAndCheck, type LeakBaseline, type LeakOptions, leakBaseline } from './closeAndCheck.js';
export { FakeClock } from './FakeClock.js';
