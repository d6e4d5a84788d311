import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import type { HubOptions } from "@holdfast/hub/config";
import type { HubParams, HubSays } from "../programs/hub.js";
import { type Program, startProgram } from "../start-program.js";

const upWithinMs = 60_000;

/** A place for a hub: whatever becomes of the process, the next one listens at the same address. */
export class HubSeat {
  readonly name: string;
  readonly address: string;
  readonly #params: HubParams;
  #program: Program<HubSays> | undefined;

  private constructor(name: string, address: string, params: HubParams) {
    this.name = name;
    this.address = address;
    this.#params = params;
  }

  static async open(name: string, databaseUrl: string, options: HubOptions): Promise<HubSeat> {
    const grpcListen = await freeAddress();
    return new HubSeat(name, grpcListen, { databaseUrl, options: { ...options, grpcListen } });
  }

  /** Resolves once it listens. */
  async start(): Promise<void> {
    this.#program = startProgram<HubSays>({ program: "hub", params: this.#params, profileDir: null });
    await this.#program.said("up", upWithinMs);
  }

  async kill(): Promise<void> {
    this.#program?.signal("SIGKILL");
    await this.#program?.ended;
  }

  freeze(): void {
    this.#program?.signal("SIGSTOP");
  }

  thaw(): void {
    this.#program?.signal("SIGCONT");
  }

  async stop(): Promise<void> {
    this.thaw();
    await this.#program?.stop();
  }
}

/** A port that was free a moment ago. */
async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return `127.0.0.1:${port}`;
}
