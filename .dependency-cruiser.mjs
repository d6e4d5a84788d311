/**
 * Who may import whom: the table of ARCHITECTURE.md, as a check. Rooms of the hub stand above what they import; packages
 * meet only where their `exports` say; type-only imports count like any other.
 *
 * Paths are what an import resolves to, so a workspace package appears as its built `dist`.
 */

const hubRooms = {
  domain: [],
  ledger: ["domain"],
  nats: ["domain"],
  lanes: ["domain", "nats"],
  bus: ["domain", "nats"],
  sinks: ["domain", "nats"],
  services: ["domain", "ledger", "lanes", "bus", "sinks"],
  rpc: ["domain", "services"],
};

const isTest = "(/test/|\\.test\\.m?ts$)";
const packageNamed = (name) => `(^|node_modules/)${name}(/|$)`;
const workspacePackage = (folder) => `^(${folder}/|@holdfast/${folder.split("/")[0]}(/|$))`;

const roomRules = Object.entries(hubRooms).map(([room, below]) => ({
  name: `room-${room}`,
  comment: `${room} may import ${[...below, "itself"].join(", ")}, and no other room of the hub`,
  severity: "error",
  from: { path: `^hub/src/${room}/`, pathNot: isTest },
  to: { path: "^hub/src/", pathNot: `^hub/src/(${[room, ...below].join("|")})/` },
}));

const packageRules = Object.entries({
  "gen/ts": ["gen/ts"],
  hub: ["hub", "gen/ts"],
  worker: ["worker", "gen/ts"],
  cli: ["cli", "worker", "hub", "gen/ts"],
}).map(([folder, allowed]) => ({
  name: `package-${folder.replace("/", "-")}`,
  comment: `${folder} may import ${allowed.join(", ")}, and no other workspace`,
  severity: "error",
  from: { path: `^${folder}/`, pathNot: isTest },
  to: {
    path: ["gen/ts", "hub", "worker", "cli", "loadtest"]
      .filter((other) => !allowed.includes(other))
      .map(workspacePackage),
  },
}));

export default {
  forbidden: [
    ...roomRules,
    ...packageRules,
    {
      name: "no-circle",
      comment: "nothing imports in a circle",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "domain-is-pure",
      comment: "rules import nothing from outside but hashing and the arithmetic of calendars",
      severity: "error",
      from: { path: "^hub/src/domain/", pathNot: isTest },
      to: { pathNot: ["^hub/src/", "^(node:)?crypto$", packageNamed("croner")] },
    },
    {
      name: "main-is-the-top",
      comment: "nobody imports the composition root but those who run a hub",
      severity: "error",
      from: { pathNot: ["^(cli|loadtest)/", isTest] },
      to: { path: ["^hub/(src|dist)/main\\.", "^@holdfast/hub/main$"] },
    },
    {
      name: "sql-in-the-ledger",
      comment: "pg is the ledger's, and the measurements'",
      severity: "error",
      from: { pathNot: ["^hub/src/ledger/", "^loadtest/", isTest] },
      to: { path: packageNamed("pg") },
    },
    {
      name: "messages-stop-at-rpc",
      comment: "in the hub only rpc knows the generated messages",
      severity: "error",
      from: { path: "^hub/src/", pathNot: ["^hub/src/rpc/", isTest] },
      to: { path: workspacePackage("gen/ts") },
    },
    {
      name: "telemetry-by-its-api",
      comment: "rooms know @opentelemetry/api, telemetry.ts knows the SDK",
      severity: "error",
      from: { path: "^hub/src/", pathNot: ["^hub/src/(telemetry|main)\\.ts$", isTest] },
      to: { path: packageNamed("@opentelemetry"), pathNot: packageNamed("@opentelemetry/api") },
    },
    {
      name: "packages-by-their-exports",
      comment: "another package is imported by its name, never by a path into its sources",
      severity: "error",
      from: { path: "^([^/]+)/", pathNot: isTest },
      to: { path: "^(hub|worker|cli|loadtest|gen/ts)/src/", pathNot: "^$1/" },
    },
    {
      name: "tests-are-leaves",
      comment: "what ships does not import what tests it",
      severity: "error",
      from: { pathNot: isTest },
      to: { path: isTest },
    },
    {
      name: "dependencies-are-declared",
      comment: "a package is imported where the nearest package.json names it",
      severity: "error",
      from: { path: "^[^/]+/(ts/)?src/", pathNot: isTest },
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    },
    {
      name: "imports-resolve",
      comment: "an import that leads nowhere would escape every other rule",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    // TypeScript 7 has no API in JavaScript; swc's parser keeps type-only imports.
    parser: "swc",
    tsPreCompilationDeps: true,
    doNotFollow: { path: ["node_modules", "/dist/"] },
    exclude: { path: "\\.d\\.ts$" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "require", "node", "default"],
      extensions: [".ts", ".js", ".mjs", ".json"],
    },
  },
};
