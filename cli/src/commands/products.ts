import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Product, ScoreWeight } from "@holdfast/gen/holdfast/v1/product_service_pb";
import type { ScoreWeightsSchema } from "@holdfast/gen/holdfast/v1/score_pb";
import type { Command } from "commander";
import { collectWords } from "../arguments/list.js";
import { decimalNumber } from "../arguments/number.js";
import { CliError, usageError } from "../cli-error.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { oneOf } from "../job-words.js";
import { takeItems } from "../pages.js";
import { PRODUCT_HEADINGS, productJson, productRow, productText } from "../product-text.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
Waiting jobs are compared by age · minutes + priority · class + retries · starts + capabilities (if they ask for some).
Each weight is a product's own, or else the default; a worker may bring its own above both. Every hub heeds a change
within about a second. Every change is kept: \`holdfast operations --target product:NAME\`.

Examples:
  $ holdfast products ls
  $ holdfast products set reports --priority 20 --age 0.5 --reason "month end"
  $ holdfast products set reports --clear priority,age`;

type Weights = Omit<MessageInitShape<typeof ScoreWeightsSchema>, "$typeName" | "$unknown">;

interface SetFlags {
  readonly age?: number;
  readonly priority?: number;
  readonly retries?: number;
  readonly capabilities?: number;
  readonly clear?: readonly ScoreWeight[];
  readonly reason: string;
  readonly ticket: string;
}

const WEIGHT_WORDS = {
  age: ScoreWeight.AGE,
  priority: ScoreWeight.PRIORITY,
  retries: ScoreWeight.RETRIES,
  capabilities: ScoreWeight.CAPABILITIES,
} as const;

const weight = decimalNumber(-1_000, 1_000);

export function addProductsCommand(program: Command, cli: Cli): void {
  const products = program
    .command("products")
    .description("show and set by what the jobs of products are ordered")
    .addHelpText("after", AFTER_HELP);

  products
    .command("ls")
    .description("list products that something was set for, with the weights in force; * marks their own")
    .action((_flags: object, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const client = connection().products;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await client.list(page);
          return { items: answer.products, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: PRODUCT_HEADINGS,
          row: (product) => productRow(product, io.nowMs()),
          json: productJson,
          nothing: "Nothing is set for any product: the defaults hold.",
        });
        return EXIT.ok;
      }),
    );

  products
    .command("get")
    .description("show one product")
    .argument("<name>", "name of the product")
    .action((name: string, _flags: object, command: Command) =>
      perform(cli, command, async (invocation) =>
        showProduct((await invocation.connection().products.get({ name })).product, invocation),
      ),
    );

  products
    .command("set")
    .description("set weights of a product; what is not named stays")
    .argument("<name>", "name of the product")
    .option("--age <weight>", "per minute of waiting, -1000 to 1000", weight)
    .option("--priority <weight>", "per step of the priority class, -1000 to 1000", weight)
    .option("--retries <weight>", "per start so far, -1000 to 1000", weight)
    .option("--capabilities <weight>", "for jobs that ask for some, -1000 to 1000", weight)
    .option(
      "--clear <weights>",
      `back to the default: ${Object.keys(WEIGHT_WORDS).join(", ")}; may be repeated`,
      collectWeights,
    )
    .option("--reason <text>", "why; kept with the change", "")
    .option("--ticket <text>", "where it was agreed on; kept with the change", "")
    .action((name: string, flags: SetFlags, command: Command) =>
      perform(cli, command, (invocation) => setWeights(name, flags, invocation)),
    );
}

function collectWeights(text: string, earlier: readonly ScoreWeight[] = []): readonly ScoreWeight[] {
  return [...earlier, ...collectWords(text).map(oneOf(WEIGHT_WORDS))];
}

async function setWeights(
  name: string,
  { clear = [], reason, ticket, ...weights }: SetFlags,
  invocation: Invocation,
): Promise<ExitCode> {
  if (Object.keys(weights).length === 0 && clear.length === 0) {
    throw usageError("Nothing is to be set.", "Add --age, --priority, --retries, --capabilities or --clear.");
  }
  const { product } = await invocation.connection().products.setWeights({
    name,
    weights: weights satisfies Weights,
    clear: [...clear],
    justification: { reason, ticket },
  });
  return showProduct(product, invocation);
}

function showProduct(product: Product | undefined, { io, output }: Invocation): ExitCode {
  if (product === undefined) {
    throw new CliError("The hub answered without a product.", {
      exitCode: EXIT.unexpected,
      reason: "EMPTY_ANSWER",
    });
  }
  output.document({ product: productJson(product) }, () => productText(product, io.nowMs(), output.paint));
  return EXIT.ok;
}
