// Requests to the server, and its refusals in words.
// @ts-check
import { serverSentence } from "./sentences.js";

/** A refusal of the server. */
export class Refused extends Error {
  /** @param {number} status @param {string} detail @param {number} retryAfter */
  constructor(status, detail, retryAfter = 0) {
    super(serverSentence(status, detail));
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/**
 * fetch that throws Refused.
 * @param {string} url @param {RequestInit} [init]
 */
export async function ask(url, init) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url, init);
  } catch {
    throw new Refused(0, "");
  }
  if (response.ok) return response;
  let detail = "";
  try {
    const body = await response.json();
    if (typeof body.detail === "string") detail = body.detail;
  } catch { /* no JSON: the status says enough */ }
  throw new Refused(response.status, detail, Number(response.headers.get("Retry-After")) || 0);
}
