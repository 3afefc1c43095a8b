"""The report as one HTML page: no script, no request to anywhere, pictures inside."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.report.compare import BUSY, Change
from benchmarks.report.result import Figure, Result
from benchmarks.report.show import target
from realtime.measures.sheets import number

Split = Callable[[str], tuple[str, str, str]]
"""Takes a figure's name apart: (heading of its table, its column, its row)."""

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --dim: #616e7c; --line: #e4e7eb; --good: #15803d; --bad: #b42318; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem; }
.scroll { overflow-x: auto; }
th, td { padding: .16rem .7rem .16rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; } .dim { color: var(--dim); } small { color: var(--dim); white-space: nowrap; }
small { font-weight: 400; } .good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
img { max-width: 100%; display: block; margin: .8rem 0; } code { background: #f5f7fa; padding: .1rem .3rem; }
"""


def plain(name: str) -> tuple[str, str, str]:
    """One table, one column."""
    return "", "value", name


def by_case(name: str) -> tuple[str, str, str]:
    """One table; what stands before the first dot is the column."""
    column, _, row = name.partition(".")
    return ("", column, row) if row else ("", "all", name)


def by_group(name: str) -> tuple[str, str, str]:
    """A table for what stands before the first dot, a column for what stands before the second."""
    parts = name.split(".", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("other", "value", name)


def tables(result: Result, split: Split) -> str:
    """All figures of a result, one table per heading."""
    groups: dict[str, dict[str, dict[str, Figure]]] = {}
    for figure in result.figures:
        group, column, row = split(figure.name)
        groups.setdefault(group, {}).setdefault(row, {})[column] = figure
    return "".join(_table(group, rows) for group, rows in groups.items())


def _table(title: str, rows: dict[str, dict[str, Figure]]) -> str:
    columns = list(dict.fromkeys(c for cells in rows.values() for c in cells))
    head = "".join(f'<th class="n">{text(c)}</th>' for c in columns)
    out = [f"<h3>{text(title)}</h3>" if title else "", '<div class="scroll"><table>']
    out.append(f'<tr><th></th>{head}<th class="n">target</th><th>unit</th><th></th></tr>')
    for row, cells in rows.items():
        some = next(iter(cells.values()))
        aimed = next((f for f in cells.values() if f.target is not None), None)
        values = "".join(f'<td class="n {_class(cells.get(c))}">{_value(cells.get(c))}</td>' for c in columns)
        out.append(
            f'<tr><td>{text(row)}</td>{values}<td class="n">{text(target(aimed))}</td>'
            f'<td>{text(some.unit)}</td><td class="dim">{text(some.about)}</td></tr>'
        )
    out.append("</table></div>")
    return "".join(out)


def _value(figure: Figure | None) -> str:
    if figure is None:
        return ""
    shown = text(number(figure.value))
    if len(figure.samples) >= 3 and figure.value is not None:
        low, high = number(min(figure.samples)), number(max(figure.samples))
        if low != high:
            shown += f"<br><small>{text(low)} to {text(high)}</small>"
    return shown


def _class(figure: Figure | None) -> str:
    return {True: "good", False: "bad", None: ""}[figure.met if figure is not None else None]


def picture(figure: Any) -> str:
    """A matplotlib figure as an <img> that holds its own data."""
    from benchmarks.report.figures import draw

    data = io.BytesIO()
    draw(figure, data)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}">'


def goals(results: Sequence[Result]) -> str:
    """Every figure that has a target, reached or missed."""
    aimed = [(r.benchmark, f) for r in results for f in r.figures if f.target is not None]
    if not aimed:
        return ""
    reached = sum(f.met is True for _, f in aimed)
    rows = "".join(
        f'<tr><td>{text(b)}</td><td>{text(f.name)}</td><td class="n {_class(f)}">{_value(f)}</td>'
        f'<td class="n">{text(target(f))}</td><td>{text(f.unit)}</td></tr>'
        for b, f in aimed
    )
    return (
        f"<h2>Targets</h2><p>{reached} of {len(aimed)} reached.</p><div class=scroll><table><tr><th>benchmark</th>"
        f'<th>figure</th><th class="n">measured</th><th class="n">target</th><th>unit</th></tr>{rows}</table></div>'
    )


def changes(found: Sequence[Change], warnings: Sequence[str], against: str) -> str:
    """What got worse or better since an earlier run."""
    counts = {v: sum(c.verdict == v for c in found) for v in ("worse", "better", "same", "not judged")}
    out = [f"<h2>Against {text(against)}</h2>"]
    out += [f'<p class="bad">Not the same conditions: {text(w)}</p>' for w in warnings]
    out.append(
        f"<p>{counts['worse']} worse, {counts['better']} better, {counts['same']} within their noise, "
        f"{counts['not judged']} without enough repeats to judge. Ratio is now / then, with the 95 % bootstrap "
        "interval over repeats; worse or better only where the whole interval lies beyond 1.</p>"
    )
    shown = [c for c in found if c.verdict in ("worse", "better")]
    if shown:
        out.append('<div class="scroll"><table><tr><th></th><th>benchmark</th><th>figure</th><th class="n">then</th>')
        out.append('<th class="n">now</th><th>unit</th><th class="n">ratio</th><th class="n">interval</th></tr>')
        for c in shown:
            mark = "bad" if c.verdict == "worse" else "good"
            out.append(
                f'<tr><td class="{mark}">{c.verdict}</td><td>{text(c.benchmark)}</td><td>{text(c.name)}</td>'
                f'<td class="n">{number(c.old)}</td><td class="n">{number(c.new)}</td><td>{text(c.unit)}</td>'
                f'<td class="n">{c.ratio:.2f}</td><td class="n">{c.low:.2f} to {c.high:.2f}</td></tr>'
            )
        out.append("</table></div>")
    return "".join(out)


def document(title: str, lead: str, sections: Sequence[str]) -> str:
    """The whole page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{text(title)}</h1>{lead}{''.join(sections)}</body></html>\n"
    )


def facts(results: Sequence[Result]) -> str:
    """Machine, commit and versions."""
    if not results:
        return ""
    m = results[0].machine
    packages = ", ".join(f"{name} {version}" for name, version in m["packages"].items())
    quick = " Quick runs: short, with wide intervals." if any(r.quick for r in results) else ""
    busy = [r.benchmark for r in results if (r.machine.get("busy_before") or 0) > BUSY]
    said = f"The machine was busy with other work before: {text(', '.join(busy))}."
    warning = f'<p class="bad">{said}</p>' if busy else ""
    return (
        f'<p class="dim">{text(m["cpu"])}, {m["cores"]} cores, {m["memory_gib"]} GiB; {text(m["system"])}; Python '
        f"{m['python']}; commit <code>{text(m['commit'] or 'unknown')}</code>; {results[0].started}.{quick}<br>"
        f"<small style='white-space:normal'>{text(packages)}</small></p>{warning}"
    )


def prose(paragraph: str) -> str:
    """Escaped for HTML, with `code` as such."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text(paragraph))


def text(value: object) -> str:
    """Escaped for HTML."""
    return html.escape(str(value))
