import { randomUUID } from "node:crypto";
import { BudgetWindow } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import type { Command } from "commander";
import { parseMicroUsd } from "../arguments/money.js";
import { wholeNumber } from "../arguments/number.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { oneOf } from "../job-words.js";
import { LIMIT_HEADINGS, limitJson, limitRow } from "../limit-text.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";
import { type JustifyingFlags, justified, showLimit } from "./limits.js";

const AFTER_HELP = `
A budget bounds what the jobs of a product may spend in a day or a month. A claim holds the estimate of the job, the end
of the attempt settles or refunds it. A product without a budget spends what it wants.

Examples:
  $ holdfast budgets set shop --cost 250.00 --window month --zone Europe/Berlin --alert 80
  $ holdfast budgets get shop
  $ holdfast budgets pause shop --reason "the invoice is being checked"
  $ holdfast budgets resume shop
  $ holdfast budgets accrue shop --cost 12.50 --request-id invoice-4711`;

const WINDOW_WORDS = { day: BudgetWindow.DAY, month: BudgetWindow.MONTH } as const;
const PRODUCT_HELP = "name of the product";

interface BudgetFlags extends JustifyingFlags {
  readonly cost?: bigint;
  readonly tokens?: number;
  readonly window: BudgetWindow;
  readonly zone: string;
  readonly alert: number;
}

interface AccrueFlags {
  readonly cost?: bigint;
  readonly tokens?: number;
  readonly requestId?: string;
  readonly note: string;
}

export function addBudgetsCommand(program: Command, cli: Cli): void {
  const budgets = program
    .command("budgets")
    .description("show and set what products may spend")
    .addHelpText("after", AFTER_HELP);

  budgets
    .command("ls")
    .description("list budgets")
    .action((_flags: object, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const client = connection().budgets;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await client.list(page);
          return { items: answer.limits, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: LIMIT_HEADINGS,
          row: (limit) => limitRow(limit, io.nowMs(), output.paint),
          json: limitJson,
          nothing: "No product has a budget.",
        });
        return EXIT.ok;
      }),
    );

  budgets
    .command("get")
    .description("show a budget, and what is spent of it")
    .argument("<product>", PRODUCT_HELP)
    .action((product: string, _flags: object, command: Command) =>
      perform(cli, command, async (invocation) =>
        showLimit((await invocation.connection().budgets.get({ product })).limit, invocation),
      ),
    );

  justified(budgets.command("set").description("set or change a budget; what is spent stays spent"))
    .argument("<product>", PRODUCT_HELP)
    .option("--cost <usd>", "ceiling in US dollars", parseMicroUsd)
    .option("--tokens <tokens>", "ceiling in tokens", wholeNumber(1, 1e15))
    .option("--window <span>", "day or month", oneOf(WINDOW_WORDS), BudgetWindow.MONTH)
    .option("--zone <name>", "time zone at whose midnight it turns, like Europe/Berlin", "UTC")
    .option("--alert <percent>", "tell operators when so much is taken", wholeNumber(1, 100), 80)
    .action((product: string, flags: BudgetFlags, command: Command) =>
      perform(cli, command, async (invocation) => {
        const { cost = 0n, tokens = 0, window, zone, alert, reason, ticket } = flags;
        const answer = await invocation.connection().budgets.set({
          product,
          budget: {
            ...{ costMicroUsdMax: cost, tokensMax: BigInt(tokens), window },
            ...{ timeZone: zone, alertPercent: alert },
          },
          justification: { reason, ticket },
        });
        return showLimit(answer.limit, invocation);
      }),
    );

  justified(budgets.command("rm").description("remove a budget: the product spends what it wants"))
    .argument("<product>", PRODUCT_HELP)
    .action((product: string, justification: JustifyingFlags, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        await connection().budgets.remove({ product, justification: textsOf(justification) });
        output.document({ removed: true }, () => "Removed; what waited there goes on.");
        return EXIT.ok;
      }),
    );

  justified(budgets.command("pause").description("let nothing of a product start until it is resumed"))
    .argument("<product>", PRODUCT_HELP)
    .action((product: string, justification: JustifyingFlags, command: Command) =>
      perform(cli, command, async (invocation) => {
        const client = invocation.connection().budgets;
        const answer = await client.pause({ product, justification: textsOf(justification) });
        return showLimit(answer.limit, invocation);
      }),
    );

  justified(budgets.command("resume").description("end a pause"))
    .argument("<product>", PRODUCT_HELP)
    .action((product: string, justification: JustifyingFlags, command: Command) =>
      perform(cli, command, async (invocation) => {
        const client = invocation.connection().budgets;
        const answer = await client.resume({ product, justification: textsOf(justification) });
        return showLimit(answer.limit, invocation);
      }),
    );

  budgets
    .command("accrue")
    .description("count spend that came from outside of jobs")
    .argument("<product>", PRODUCT_HELP)
    .option("--cost <usd>", "in US dollars", parseMicroUsd)
    .option("--tokens <tokens>", "in tokens", wholeNumber(1, 1e15))
    .option("--request-id <text>", "counting again with it changes nothing; default a new one")
    .option("--note <text>", "on what", "")
    .action((product: string, flags: AccrueFlags, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        const { cost = 0n, tokens = 0, requestId = randomUUID(), note } = flags;
        const spend = { costMicroUsd: cost, tokens: BigInt(tokens) };
        const { counted } = await connection().budgets.accrueSpend({ requestId, product, spend, note });
        output.document({ counted, requestId }, () =>
          counted ? "Counted." : "This request had been counted before.",
        );
        return EXIT.ok;
      }),
    );
}

function textsOf({ reason, ticket }: JustifyingFlags) {
  return { reason, ticket };
}
