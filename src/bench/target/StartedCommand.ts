import { askOnce } from '../../connection/net/sockets/askOnce.js';
import { systemClock } from '../../core/clock.js';
import { lastWords } from '../../core/errors/lastWords.js';
import { messageOf } from '../../core/errors.js';
import { withoutSecrets } from '../../core/text/withoutSecrets.js';
import { sleep } from '../../core/time/sleep.js';
import { withTimeoutSignal } from '../../core/time/within.js';
import { type ExitInfo, ManagedProcess } from '../../registry/process/ManagedProcess.js';
import { splitCommand } from './TargetSpec.js';

const READY_MS = 60_000;
/** Longest answer to one look. */
const ANSWER_MS = 2_000;

/** A command that stands behind a target's URL: started before, ended with its whole process group after. */
export class StartedCommand implements AsyncDisposable {
  readonly #process: ManagedProcess;
  #ended: ExitInfo | undefined;

  private constructor(child: ManagedProcess) {
    this.#process = child;
    void child.exited.then((info) => {
      this.#ended = info;
    });
  }

  /** Resolves once something answers at the URL. @throws when the command ends first or nothing answers in a minute. */
  static async start(commandLine: string, url: string, signal?: AbortSignal): Promise<StartedCommand> {
    const [command = '', ...args] = splitCommand(commandLine);
    const child = await ManagedProcess.spawn('start', { command, args, inheritEnv: Object.keys(process.env) });
    const started = new StartedCommand(child);
    child.stdout.resume();
    child.stdin.on('error', () => undefined);
    try {
      await started.#answers(withoutSecrets(commandLine), url, signal);
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop();
  }

  async #answers(commandLine: string, url: string, signal: AbortSignal | undefined): Promise<void> {
    const untilMs = performance.now() + READY_MS;
    let last: unknown;
    while (performance.now() < untilMs) {
      if (this.#ended)
        throw new Error(
          `${commandLine} ${await this.#howItEnded(this.#ended)} before anything answered at ${withoutSecrets(url)}`,
        );
      try {
        // A gateway may listen before what is behind it is up, and says so by 5xx.
        const headers = { accept: 'text/event-stream' };
        const status = await withTimeoutSignal(ANSWER_MS, signal, (bounded) =>
          askOnce(new URL(url), { headers, signal: bounded }, ({ statusCode = 0 }) => statusCode),
        );
        if (status < 500) return;
        last = new Error(`it answered ${status}`);
      } catch (error) {
        last = error;
      }
      await sleep(systemClock, 100, { signal });
    }
    throw new Error(
      `${commandLine} did not answer at ${withoutSecrets(url)} within ${READY_MS / 1_000} s: ${messageOf(last)}`,
    );
  }

  async #howItEnded({ exitCode, signal }: ExitInfo): Promise<string> {
    // What it wrote last may still be in the pipe.
    await this.#process.stop();
    const last = lastWords(this.#process.stderrLines());
    const how = exitCode === null ? `was ended by ${signal}` : `exited with code ${exitCode}`;
    return last === undefined ? how : `${how} (stderr: ${last})`;
  }
}
