import { describe, expect, it } from "vitest";
import { ConfigError, describeConfig, HUB_OPTION_TABLE, type HubOption, readHubConfig } from "./config.js";

const rows: readonly HubOption[] = HUB_OPTION_TABLE;

describe("the configuration of a hub", () => {
  it("is all defaults when nothing is given, and those agree with each other", () => {
    const config = readHubConfig({}, {});

    expect(config).toEqual(Object.fromEntries(rows.map((row) => [row.field, row.default])));
    expect(config.grpcListen).toBe("127.0.0.1:7420");
    expect(config.httpListen).toBe("127.0.0.1:7421");
    expect(config.databaseUrl).toBeNull();
  });

  it("takes an option before the environment, and the environment before the default", () => {
    const environment = { HOLDFAST_SESSION_TTL_MS: "60000", HOLDFAST_DATA_DIR: "/somewhere" };

    expect(readHubConfig({}, environment)).toMatchObject({ sessionTtlMs: 60_000, dataDir: "/somewhere" });
    expect(readHubConfig({ sessionTtlMs: 90_000 }, environment)).toMatchObject({ sessionTtlMs: 90_000 });
    expect(readHubConfig({ sessionTtlMs: "90000" }, environment)).toMatchObject({ sessionTtlMs: 90_000 });
    expect(readHubConfig({ sessionTtlMs: undefined, dataDir: "" }, environment)).toMatchObject({
      sessionTtlMs: 60_000,
      dataDir: "/somewhere",
    });
    expect(readHubConfig({}, { HOLDFAST_DATA_DIR: "" }).dataDir).toBe(".holdfast");
  });

  it.each(rows.filter((row) => row.range !== undefined))(
    "refuses $field outside its range, naming it",
    (row) => {
      const [least, most] = row.range as readonly [number, number];

      for (const bad of [least - 1, most + 1, Number.NaN, 1.5, "a lot", "0x10000000000000"]) {
        expect(() => readHubConfig({ [row.field]: bad }, {})).toThrow(ConfigError);
        expect(() => readHubConfig({}, { [row.env]: String(bad) })).toThrow(row.env);
      }
    },
  );

  it.each(["localhost", "localhost:", ":7420", "localhost:65536", "localhost:http", "http://localhost"])(
    "refuses %s as an address",
    (address) => {
      expect(() => readHubConfig({ grpcListen: address }, {})).toThrow(/HOST:PORT/);
    },
  );

  it.each([
    ["half of TLS", { tlsCert: "a.pem" }, /TLS needs both/],
    ["the other half of TLS", { tlsKey: "a.pem" }, /TLS needs both/],
    ["heartbeats too rare for the session", { heartbeatIntervalMs: 10_001 }, /third of the session TTL/],
    ["batches larger than the queue of writes", { batchJobsMax: 2_000, queuedItemsMax: 1_000 }, /batch/],
    ["credit that holds no job", { creditBytesMax: 1 << 20 }, /creditBytesMax/],
  ])("refuses %s", (_, options, message) => {
    expect(() => readHubConfig(options, {})).toThrow(message);
  });

  it("forwards events only where that is asked for, and only with NATS to forward to", () => {
    expect(readHubConfig({ natsUrl: "nats://one" }, {}).eventSink).toBe("none");
    expect(readHubConfig({ natsUrl: "nats://one", eventSink: "nats" }, {}).eventSink).toBe("nats");
    expect(() => readHubConfig({ eventSink: "nats" }, {})).toThrow(/--nats-url/);
    expect(() => readHubConfig({ eventSink: "kafka" }, {})).toThrow(/none or nats/);
    expect(() => readHubConfig({ eventStreamMaxAgeMs: 60_000, eventDedupeWindowMs: 60_001 }, {})).toThrow(
      /eventDedupeWindowMs/,
    );
  });

  it.each(["nats://one", "nats://u:p%40@one:4222,nats://two:4223", "tls://[::1]:4222"])(
    "accepts %s as NATS servers",
    (natsUrl) => {
      expect(readHubConfig({ natsUrl }, {}).natsUrl).toBe(natsUrl);
    },
  );

  it.each([
    "one:4222",
    "http://one",
    "nats://",
    "nats://one:port",
    "nats://one/path",
    "nats://one, nats://two",
  ])("refuses %s as NATS servers", (natsUrl) => {
    expect(() => readHubConfig({ natsUrl }, {})).toThrow(/nats:\/\//);
  });

  it("does not repeat what is wrong with a secret", () => {
    expect(() => readHubConfig({}, { HOLDFAST_NATS_URL: "nats://u:hunter2@one:port" })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining("hunter2") }),
    );
  });

  it.each(["a.b", "a b", "a*", ">", "x".repeat(33)])(
    "refuses %j as the first part of subjects",
    (natsPrefix) => {
      expect(() => readHubConfig({ natsPrefix }, {})).toThrow(/1 to 32 letters/);
    },
  );

  it("accepts heartbeats of exactly a third of the session", () => {
    expect(readHubConfig({ heartbeatIntervalMs: 10_000 }, {}).heartbeatIntervalMs).toBe(10_000);
  });

  it("is printed whole, without its secrets", () => {
    const lines = describeConfig(readHubConfig({ databaseUrl: "postgres://u:hunter2@db/ledger" }, {}));

    expect(lines).toHaveLength(rows.length);
    expect(lines).toContain("HOLDFAST_DATABASE_URL=(set)");
    expect(lines).toContain("HOLDFAST_SESSION_TTL_MS=30000");
    expect(lines).toContain("HOLDFAST_TLS_CERT=(not set)");
    expect(lines.join("\n")).not.toContain("hunter2");
  });

  it("names each option once, as flag, variable and field, with its help", () => {
    for (const name of ["field", "flag", "env"] as const)
      expect(new Set(rows.map((row) => row[name])).size).toBe(rows.length);
    for (const { field, flag, env, help } of rows) {
      expect(flag).toBe(field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
      expect(env).toBe(`HOLDFAST_${flag.replaceAll("-", "_").toUpperCase()}`);
      expect(help).not.toBe("");
    }
  });
});
