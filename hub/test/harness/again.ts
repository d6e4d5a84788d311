import type { BatchResult, BatchStatement } from "../../src/ledger/group-commit.js";
import { WriterConnection } from "../../src/ledger/writer-connection.js";

/** Runs a batch as one that an earlier try may have committed, as a writer of its own. */
export async function runAgain<Item, Result>(
  databaseUrl: string,
  statement: BatchStatement<Item, Result>,
  items: readonly Item[],
): Promise<BatchResult<Result>> {
  const connection = new WriterConnection(databaseUrl, "test");
  await connection.open();
  try {
    return await statement.run(
      {
        connection,
        writerId: connection.writerId,
        batch: connection.takePage(),
        isRetry: true,
        reserveReadyKeys: () => 1,
        jobTable: () => "job",
      },
      items,
    );
  } finally {
    await connection.close();
  }
}
