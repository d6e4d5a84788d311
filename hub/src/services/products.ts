import { Fault } from "../domain/fault.js";
import type { Operator } from "../domain/operation.js";
import type { Product, WeightChange } from "../domain/product.js";
import type { Principal } from "../domain/scope.js";
import type { Ledger } from "../ledger/ledger.js";
import type { Peers } from "./peers.js";
import type { ProductBook } from "./product-book.js";

const productsPerTenantMax = 1_000;

/** The registry of products. The ledger keeps it; this hub looks at once after a change, and the others are told. */
export class Products {
  readonly #ledger: Pick<Ledger, "readProduct" | "listProducts" | "setProductWeights">;
  readonly #book: Pick<ProductBook, "lookNow">;
  readonly #peers: Pick<Peers, "configChanged">;

  constructor(
    ledger: Pick<Ledger, "readProduct" | "listProducts" | "setProductWeights">,
    book: Pick<ProductBook, "lookNow">,
    peers: Pick<Peers, "configChanged">,
  ) {
    this.#ledger = ledger;
    this.#book = book;
    this.#peers = peers;
  }

  async get({ tenantId }: Principal, name: string): Promise<Product> {
    const known = await this.#ledger.readProduct(tenantId, name);
    return known ?? { tenantId, name, weights: {}, changedAtMs: null };
  }

  list(principal: Principal, afterName: string, limit: number): Promise<Product[]> {
    return this.#ledger.listProducts(principal.tenantId, afterName, limit);
  }

  /** @throws Fault PRODUCT_LIMIT */
  async setWeights(operator: Operator, name: string, change: WeightChange): Promise<Product> {
    const product = await this.#ledger.setProductWeights(operator, name, change, productsPerTenantMax);
    if (!product)
      throw new Fault(
        "PRODUCT_LIMIT",
        `The tenant has ${productsPerTenantMax} registered products already.`,
        {
          limit: "productsPerTenantMax",
          value: String(productsPerTenantMax),
        },
      );
    this.#book.lookNow();
    this.#peers.configChanged("products");
    return product;
  }
}
