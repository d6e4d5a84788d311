import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { useHub } from "../../hub/test/harness/raw-hub.js";

const house = useHub();
const example = fileURLToPath(new URL("../../examples/signals.mjs", import.meta.url));

async function run(): Promise<string> {
  const env = { ...process.env, HOLDFAST_ADDRESS: house.hub().grpcAddress };
  return (await promisify(execFile)(process.execPath, [example], { env })).stdout;
}

test("the example of signals shows what it says: both ends go on where they were (D12, D14)", async () => {
  expect(await run()).toBe(`published readings 1 to 1000
the dashboard went on at signal 1
{ readings: 1000, warmest: 76 }
See it all: npx holdfast cursors ls press-3/heat
`);
  expect(await run()).toBe(`published readings 1001 to 2000
the dashboard went on at signal 1001
{ readings: 2000, warmest: 76 }
See it all: npx holdfast cursors ls press-3/heat
`);
});
