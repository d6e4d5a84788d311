import { onTestFinished } from "vitest";
import { type FakeServices, startFakeHub } from "./fake-hub.js";
import { run } from "./run-cli.js";

/** A hub that answers as told, for one test; answers how to run the command against it. */
export async function withHub(
  services: FakeServices,
): Promise<(...args: string[]) => ReturnType<typeof run>> {
  const hub = await startFakeHub(services);
  onTestFinished(() => hub.stop());
  return (...args) => run([...args, "--hub", hub.url]);
}
