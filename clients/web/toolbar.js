// @ts-check
/**
 * A toolbar is one stop for Tab; arrows, Home and End move within it (the toolbar pattern of ARIA).
 * @param {HTMLElement} toolbar
 */
export function rove(toolbar) {
  /** @type {HTMLButtonElement | null} */
  let current = null;
  const all = () => [...toolbar.querySelectorAll("button")];
  const usable = () => all().filter((button) => !button.disabled && !button.hidden);
  const settle = () => {
    const buttons = usable();
    if (!current || !buttons.includes(current)) current = buttons[0] ?? null;
    for (const button of all()) button.tabIndex = button === current ? 0 : -1;
  };
  toolbar.addEventListener("focusin", (event) => {
    current = /** @type {HTMLElement} */ (event.target).closest("button");
    settle();
  });
  toolbar.addEventListener("keydown", (event) => {
    const buttons = usable(), at = current ? buttons.indexOf(current) : -1;
    const to = {
      ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1,
    }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    buttons[(to + buttons.length) % buttons.length]?.focus();
  });
  new MutationObserver(settle).observe(toolbar, { subtree: true, attributes: true, attributeFilter: ["hidden", "disabled"] });
  settle();
}
