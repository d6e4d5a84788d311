// Checks a bundle line by line, in constant memory: see audit.ts for what stands where.
import {
  type BundleEnd,
  type BundleStart,
  bundleFormat,
  digestOfSeal,
  endLine,
  LinesDigest,
  type Seal,
  type SignedType,
  sealLine,
} from "./audit.js";

/** What is wrong with a bundle, and at which line, the first being 1. */
export class BundleDefect extends Error {
  override readonly name = "BundleDefect";
  readonly line: number;
  /** It names a key that is not trusted, or was not signed by the one that it names. */
  readonly isUntrusted: boolean;

  constructor(line: number, message: string, isUntrusted = false) {
    super(message);
    this.line = line;
    this.isUntrusted = isUntrusted;
  }
}

/** Payload of a JWS that a trusted key signed for this purpose; rejects, saying why, for any other. */
export type ReadSigned = (jws: string, type: SignedType) => Promise<unknown>;

export interface CheckedBundle {
  readonly tenant: string;
  readonly first: number;
  readonly last: number;
  readonly operations: number;
  /** Digest of the seal before the first one; empty at the beginning of the chain. */
  readonly previous: string;
  /** Digest of seal `last`, whether it is in the bundle or before it; empty for 0. */
  readonly head: string;
  /** Numbers of the known seals that the bundle agrees with. */
  readonly agreesWith: readonly number[];
  /** When the last seal was made; null where there is none. */
  readonly sealedAt: string | null;
  readonly exportedAt: string;
}

/** A digest that is known of the seal with this number, from elsewhere. */
export interface KnownSeal {
  readonly number: number;
  readonly digest: string;
}

export class BundleCheck {
  readonly #readSigned: ReadSigned;
  readonly #known: ReadonlyMap<number, string>;
  readonly #whole = new LinesDigest();
  #line = 0;
  #start: BundleStart | undefined;
  #seal: Seal | undefined;
  #operationsLeft = 0;
  #operationsDigest = new LinesDigest();
  #operations = 0;
  #nextNumber = 1;
  #previous = "";
  #head: string | undefined;
  #end: BundleEnd | undefined;
  readonly #agreesWith: number[] = [];

  constructor(readSigned: ReadSigned, known: readonly KnownSeal[] = []) {
    this.#readSigned = readSigned;
    this.#known = new Map(known.map(({ number, digest }) => [number, digest]));
  }

  /**
   * Takes the next line, without its line feed.
   *
   * @throws BundleDefect
   */
  async take(bytes: Uint8Array): Promise<void> {
    this.#line += 1;
    const value = this.#parse(bytes);
    if (this.#end) throw this.#defect("Something follows the end.");
    if (!this.#start) this.#takeStart(value);
    else if (this.#operationsLeft > 0) this.#takeOperation(value, bytes);
    else if ("seal" in value) await this.#takeSeal(value, bytes);
    else if ("end" in value) await this.#takeEnd(value, bytes);
    else throw this.#defect("A seal, or the end, should stand here.");
    this.#whole.add(bytes);
  }

  /** @throws BundleDefect when the bundle was cut off */
  finish(): CheckedBundle {
    this.#line += 1;
    if (!this.#start || !this.#end) throw this.#defect("The bundle is cut off: its end is missing.");
    return {
      tenant: this.#start.tenant,
      first: this.#start.first,
      last: this.#start.last,
      operations: this.#operations,
      previous: this.#previous,
      head: this.#head ?? this.#previous,
      agreesWith: this.#agreesWith,
      sealedAt: this.#seal?.sealedAt ?? null,
      exportedAt: this.#end.exportedAt,
    };
  }

  #takeStart(value: object): void {
    const start = value as Partial<BundleStart>;
    if (start.bundle !== bundleFormat) throw this.#defect(`This is no bundle of the form ${bundleFormat}.`);
    if (typeof start.tenant !== "string" || !isCount(start.first, 1) || !isCount(start.last, start.first - 1))
      throw this.#defect("The first line does not say whose bundle it is, and of which seals.");
    this.#start = start as BundleStart;
    this.#nextNumber = start.first;
  }

  async #takeSeal(value: object, bytes: Uint8Array): Promise<void> {
    const { tenant } = this.#start as BundleStart;
    const [jws, seal] = await this.#signed<Seal>(value, "seal", "holdfast-seal");
    if (!isText(bytes, sealLine(jws))) throw this.#defect("The seal is not written as it was.");
    const number = this.#nextNumber;
    if (seal.number !== number)
      throw this.#defect(`Seal ${number} should stand here, and seal ${seal.number} does.`);
    if (seal.tenant !== tenant) throw this.#defect(`Seal ${number} is of tenant ${seal.tenant}.`);
    if (this.#head === undefined) this.#previous = this.#compare(number - 1, seal.previous);
    else if (seal.previous !== this.#head)
      throw this.#defect(`Seal ${number} does not follow the seal before it.`);
    this.#head = this.#compare(number, digestOfSeal(jws));
    this.#seal = seal;
    this.#nextNumber += 1;
    this.#operationsLeft = seal.operations.count;
    this.#operationsDigest = new LinesDigest();
    this.#checkOperations();
  }

  /** The digest of a seal of the chain, as the bundle says it. */
  #compare(number: number, digest: string): string {
    const known = number === 0 ? "" : this.#known.get(number);
    if (known === undefined) return digest;
    if (known !== digest)
      throw this.#defect(
        number === 0
          ? "Seal 1 does not begin the chain."
          : `Seal ${number} is another than the one that is known.`,
      );
    if (number > 0) this.#agreesWith.push(number);
    return digest;
  }

  #takeOperation(value: object, bytes: Uint8Array): void {
    if (!("operation" in value))
      throw this.#defect(`An operation of seal ${this.#seal?.number} should stand here.`);
    this.#operationsDigest.add(bytes);
    this.#operationsLeft -= 1;
    this.#operations += 1;
    this.#checkOperations();
  }

  #checkOperations(): void {
    const seal = this.#seal as Seal;
    if (this.#operationsLeft > 0 || this.#operationsDigest.toString() === seal.operations.sha256) return;
    throw this.#defect(`The operations of seal ${seal.number} are not those that were sealed.`);
  }

  async #takeEnd(value: object, bytes: Uint8Array): Promise<void> {
    const start = this.#start as BundleStart;
    const [jws, end] = await this.#signed<BundleEnd>(value, "end", "holdfast-bundle");
    if (!isText(bytes, endLine(jws))) throw this.#defect("The end is not written as it was.");
    if (this.#nextNumber !== start.last + 1) throw this.#defect(`Seal ${this.#nextNumber} is missing.`);
    const isOfThis =
      end.tenant === start.tenant &&
      end.first === start.first &&
      end.last === start.last &&
      end.head === (this.#head ?? end.head) &&
      end.sha256 === this.#whole.toString();
    if (!isOfThis) throw this.#defect("The end was signed for another bundle than this.");
    if (this.#head === undefined) this.#previous = this.#compare(start.last, end.head);
    this.#end = end;
  }

  async #signed<Payload>(
    value: object,
    field: string,
    type: SignedType,
  ): Promise<readonly [string, Payload]> {
    const jws = (value as Record<string, unknown>)[field];
    if (typeof jws !== "string") throw this.#defect(`The ${field} is no text.`);
    // Base64url may end in bits that mean nothing: those, too, are to be as they were.
    const signature = jws.slice(jws.lastIndexOf(".") + 1);
    if (Buffer.from(signature, "base64url").toString("base64url") !== signature)
      throw this.#defect(`The signature of the ${field} is not written as it was.`);
    try {
      return [jws, (await this.#readSigned(jws, type)) as Payload];
    } catch (error) {
      const why = `The ${field} is not signed by a key that is trusted: ${(error as Error).message}`;
      throw new BundleDefect(this.#line, why, true);
    }
  }

  #parse(bytes: Uint8Array): object {
    try {
      const value: unknown = JSON.parse(utf8.decode(bytes));
      if (typeof value === "object" && value !== null) return value;
    } catch {
      // Said below, with the line.
    }
    throw this.#defect("This is no line of a bundle: no JSON object in UTF-8.");
  }

  #defect(message: string): BundleDefect {
    return new BundleDefect(this.#line, message);
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function isText(bytes: Uint8Array, text: string): boolean {
  return Buffer.from(text).equals(bytes);
}

function isCount(value: unknown, least: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least;
}
