// @ts-check
/**
 * An element of the page, of the kind that it must be.
 * @template {HTMLElement} T @param {string} id @param {new (...args: any[]) => T} type @returns {T}
 */
export function get(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${id}`);
  return element;
}
