import { InvalidArgumentError } from "commander";

/** Makes a reader of whole numbers within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(`"${text}" is not a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** Makes a reader of numbers such as "1.5" and "-2" within bounds. */
export function decimalNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = parseDecimal(text);
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(`"${text}" is not a number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** Makes a reader of numbers for fields of the protocol in which 0 stands for the default. */
export function decimalAboveZero(max: number): (text: string) => number {
  return (text) => {
    const value = parseDecimal(text);
    if (!(value > 0 && value <= max)) {
      throw new InvalidArgumentError(`"${text}" is not a number above 0, at most ${max}.`);
    }
    return value;
  };
}

function parseDecimal(text: string): number {
  return /^-?\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
}
