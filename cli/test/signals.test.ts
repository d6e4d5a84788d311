import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { useHub } from "../../hub/test/harness/raw-hub.js";
import { openSubscriber } from "../../hub/test/harness/raw-signals.js";
import { EXIT } from "../src/exit-codes.js";
import { spawnHoldfast } from "./holdfast-process.js";
import { jsonError, run } from "./run-cli.js";

const house = useHub();
const cli = (...args: string[]) => run([...args, "--hub", `http://${house.hub().httpAddress}`]);

test("what is published is listed and shown, as text and as JSON lines", async () => {
  for (const celsius of [60, 61]) {
    const published = await cli(
      "signals",
      "publish",
      "heat",
      "--payload",
      JSON.stringify({ celsius }),
      "--key",
      "k",
    );
    expect(published).toMatchObject({ exitCode: EXIT.ok, stderr: "" });
    expect(published.stdout).toBe(`stored at ${celsius - 59} of partition 0\n`);
  }
  const text = await cli("signals", "tail", "heat", "--from", "2");
  expect(text.stdout).toBe('2  k  {"celsius":61}\n');
  const json = await cli("signals", "tail", "heat", "--json");
  const lines = json.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { sequence: "1", key: "k", payloadValue: { celsius: 60 } },
    { sequence: "2", key: "k", payloadValue: { celsius: 61 } },
  ]);
  const listed = await cli("signals", "ls");
  expect(listed.stdout).toMatch(/^heat +1 +2 +2 +\d+ /m);
});

test("publishing again as the same producer goes on after its newest number", async () => {
  for (const sequence of [1, 2])
    expect(
      (await cli("signals", "publish", "named", "--payload", "1", "--producer", "cron", "--json")).stdout,
    ).toContain(`"firstSequence": "${sequence}"`);
});

test("cursors are listed, and moved with a reason and not without", async () => {
  for (const n of [1, 2, 3]) await cli("signals", "publish", "moved", "--payload", String(n));
  const client = house.client();
  const subscriber = openSubscriber(client, { name: "moved" }, { consumer: "reader" });
  await subscriber.stream.next("caughtUp");
  subscriber.ack(1, 3);
  await subscriber.stream.next("cursor");
  expect((await cli("cursors", "ls", "moved")).stdout).toMatch(/^reader +0 +3 +3 +- +0 /m);

  expect(await cli("cursors", "reset", "moved", "reader", "--to", "1")).toMatchObject({
    exitCode: EXIT.usage,
  });
  expect(await cli("cursors", "reset", "moved", "reader", "--to", "1", "--reason", " ")).toMatchObject({
    exitCode: EXIT.usage,
  });
  const reset = await cli("cursors", "reset", "moved", "reader", "--to", "1", "--reason", "again");
  expect(reset.stdout).toMatch(/^reader goes on after 1 of partition 0; 2 signals behind/);
  expect(await subscriber.stream.ended).toMatchObject({ reason: "SUPERSEDED" });

  const again = openSubscriber(client, { name: "moved" }, { consumer: "reader" });
  await again.stream.next("caughtUp");
  expect(again.seen().map(({ sequence, isRedelivered }) => [sequence, isRedelivered])).toEqual([
    [2, true],
    [3, true],
  ]);
  again.stream.cancel();
  const kept = await house.query("select reset_reason from signal_cursor where consumer = 'reader'");
  expect(kept).toEqual([{ reset_reason: "again" }]);
});

test("what cannot be is refused with a reason and what to do", async () => {
  const absent = await cli("signals", "tail", "nowhere", "--json");
  expect(absent.exitCode).toBe(EXIT.notFound);
  expect(jsonError(absent)).toMatchObject({
    reason: "CHANNEL_NOT_FOUND",
    next: expect.stringContaining("signals ls"),
  });
  await cli("signals", "publish", "short", "--payload", "1");
  const nobody = await cli(
    "cursors",
    "reset",
    "short",
    "nobody",
    "--to",
    "latest",
    "--reason",
    "r",
    "--json",
  );
  expect(jsonError(nobody)).toMatchObject({ reason: "CURSOR_NOT_FOUND", exitCode: EXIT.notFound });
  const beyond = await cli("cursors", "reset", "short", "nobody", "--to", "9", "--reason", "r", "--json");
  expect(jsonError(beyond)).toMatchObject({ reason: "ACK_BEYOND_SENT", exitCode: EXIT.refused });
  expect((await cli("signals", "publish", "a/b/c", "--payload", "1")).exitCode).toBe(EXIT.usage);
  expect((await cli("signals", "publish", "short", "--payload", "{no")).exitCode).toBe(EXIT.usage);
});

test("the command ends by itself once the signal is stored", async () => {
  const url = `http://${house.hub().httpAddress}`;
  const command = spawnHoldfast(["signals", "publish", "ends", "--payload", "1", "--hub", url], {
    cwd: tmpdir(),
  });
  expect(await command.ended).toBe(EXIT.ok);
  expect(command.stdout()).toBe("stored at 1 of partition 0\n");
});
