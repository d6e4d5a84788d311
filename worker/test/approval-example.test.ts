import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { useHub } from "../../hub/test/harness/raw-hub.js";

const house = useHub();
const example = fileURLToPath(new URL("../../examples/approval.mjs", import.meta.url));

test("the example of an approval shows what it says: the seat is free while the purchase waits", async () => {
  const env = { ...process.env, HOLDFAST_ADDRESS: house.hub().grpcAddress };
  const { stdout } = await promisify(execFile)(process.execPath, [example], { env });
  expect(stdout).toBe(`the handler starts
the boss is asked
the purchase waits
the one seat of this worker is free meanwhile
the handler starts
approved by the boss
`);
});
