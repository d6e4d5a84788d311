import { readFile } from "node:fs/promises";
import { Code } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { EXIT, EXIT_CODES } from "../src/exit-codes.js";
import { type FakeHub, jobNotFound, refusal, startFakeHub } from "./fake-hub.js";
import { jsonError, run } from "./run-cli.js";

let hub: FakeHub | undefined;
afterEach(async () => {
  await hub?.stop();
  hub = undefined;
});

describe("the table of exit codes", () => {
  test("gives every code one meaning, for good", () => {
    expect(EXIT).toEqual({
      ok: 0,
      unexpected: 1,
      usage: 2,
      notFound: 3,
      refused: 4,
      notAuthorised: 5,
      unavailable: 6,
      jobNotSucceeded: 7,
      doctorFailed: 8,
      timedOut: 9,
      childFailed: 10,
      drifted: 11,
      notVerified: 12,
      interrupted: 130,
      outputClosed: 141,
      terminated: 143,
    });
    expect(new Set(EXIT_CODES.map((row) => row.code)).size).toBe(EXIT_CODES.length);
  });

  test("is shown by `help exit-codes` and by `exit-codes --json`", async () => {
    const help = await run(["help", "exit-codes"]);
    const json = await run(["exit-codes", "--json"]);
    expect(help.exitCode).toBe(EXIT.ok);
    const shown = help.stdout.replaceAll(/\n {6}/g, " ");
    for (const { code, meaning } of EXIT_CODES) {
      expect(shown).toContain(`\n${String(code).padEnd(4)}  ${meaning}`);
    }
    expect(JSON.parse(json.stdout)).toEqual(EXIT_CODES);
  });
});

test("docs/operations.md has the same table", async () => {
  const text = await readFile(new URL("../../docs/operations.md", import.meta.url), "utf8");
  for (const { code, meaning } of EXIT_CODES) {
    expect(text).toContain(`\n| ${code} | ${meaning.replaceAll("|", "\\|")} |\n`);
  }
});

describe("a refusal of the hub decides the exit code", () => {
  const cases = [
    { code: Code.InvalidArgument, reason: "INVALID_FIELD", exitCode: EXIT.refused },
    { code: Code.AlreadyExists, reason: "IDEMPOTENCY_CONFLICT", exitCode: EXIT.refused },
    { code: Code.FailedPrecondition, reason: "ALREADY_TERMINAL", exitCode: EXIT.refused },
    { code: Code.NotFound, reason: "JOB_NOT_FOUND", exitCode: EXIT.notFound },
    { code: Code.Unauthenticated, reason: "UNAUTHENTICATED", exitCode: EXIT.notAuthorised },
    { code: Code.PermissionDenied, reason: "SCOPE_MISSING", exitCode: EXIT.notAuthorised },
    { code: Code.ResourceExhausted, reason: "BACKLOG_FULL", exitCode: EXIT.unavailable },
    { code: Code.ResourceExhausted, reason: "IN_FLIGHT_FULL", exitCode: EXIT.unavailable },
    ...["RUN_LIMIT", "LIMIT_COUNT", "CHANNEL_LIMIT", "PRODUCT_LIMIT", "LANE_LIMIT"].map((reason) => ({
      code: Code.ResourceExhausted,
      reason,
      exitCode: EXIT.refused,
    })),
    { code: Code.NotFound, reason: "LIMIT_NOT_FOUND", exitCode: EXIT.notFound },
    { code: Code.Unavailable, reason: "LEDGER_UNAVAILABLE", exitCode: EXIT.unavailable },
    { code: Code.Internal, reason: "INTERNAL", exitCode: EXIT.unexpected },
  ] as const;

  test.each(cases)(
    "$reason is $exitCode, with the hub's reason and metadata",
    async ({ code, reason, exitCode }) => {
      hub = await startFakeHub({
        jobs: {
          get: () => {
            throw refusal(code, reason, "No.", { limit: "7" });
          },
        },
      });
      const json = await run(["get", "x", "--hub", hub.url, "--json"]);
      const text = await run(["get", "x", "--hub", hub.url]);
      expect(json).toMatchObject({ exitCode, stdout: "" });
      expect(jsonError(json)).toMatchObject({ reason, message: "No.", exitCode, metadata: { limit: "7" } });
      expect(text).toMatchObject({ exitCode, stdout: "" });
      expect(text.stderr).toContain(`${reason}: No.`);
      expect(text.stderr).toContain("limit: 7");
    },
  );

  test("and so does a hub that cannot be reached, with what to do next", async () => {
    const result = await run(["get", "x", "--hub", "http://127.0.0.1:1", "--json"]);
    expect(result.exitCode).toBe(EXIT.unavailable);
    expect(jsonError(result)).toMatchObject({ reason: "HUB_UNREACHABLE" });
    expect(jsonError(result).next).toMatch(/npm start.*holdfast hub/);
  });

  test("and so does a program that is not a hub", async () => {
    hub = await startFakeHub({});
    const result = await run(["get", "x", "--hub", `${hub.url}/elsewhere`, "--json"]);
    expect(result.exitCode).toBe(EXIT.unexpected);
    expect(jsonError(result).reason).toBe("NOT_A_HUB");
  });

  test("a job that is not there says how to find one", async () => {
    hub = await startFakeHub({
      jobs: {
        get: () => {
          throw jobNotFound();
        },
      },
    });
    const result = await run(["get", "nope", "--hub", hub.url]);
    expect(result.stderr).toContain("next: Check the id: `holdfast list`");
  });
});
