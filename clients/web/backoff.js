// @ts-check
/** Waits between attempts to connect: 1, 2, 4, 8, then 15 seconds, each a little random so that not all come at once. */
export class Backoff {
  attempt = 0;

  /**
   * @param {number} [asked]  seconds that the server asked for (Retry-After)
   * @param {() => number} [random]
   * @returns {number} seconds to wait
   */
  next(asked = 0, random = Math.random) {
    const wait = Math.min(15, 2 ** Math.min(this.attempt, 4));
    this.attempt += 1;
    return Math.max(asked, wait * (0.8 + 0.4 * random()));
  }

  reset() { this.attempt = 0; }
}
