"""What was measured, as tables in Markdown and as a plot."""

from __future__ import annotations

import io
import math
import statistics
from pathlib import Path

RECALLS = (0.90, 0.95, 0.99)
BASE = "hnswlib"
"""The library that the others are compared with."""


def clock(threads: int) -> str:
    """One thread is measured by the processor's time, several by the wall's."""
    return "cpu" if threads == 1 else "wall"


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (recall, rate) that no other point beats in both, by rising recall."""
    kept: list[tuple[float, float]] = []
    for recall, rate in sorted(points, reverse=True):
        if not kept or rate > kept[-1][1]:
            kept.append((recall, rate))
    return kept[::-1]


def at_recall(points: list[tuple[float, float]], recall: float) -> float:
    """Queries a second where the front passes `recall`, between two points on a logarithmic scale.

    The fastest point's where all have more recall; NaN where all have less.
    """
    points = front(points)
    if points and points[0][0] >= recall:
        return points[0][1]
    for (low, fast), (high, slow) in zip(points, points[1:]):
        if low < recall <= high:
            part = (recall - low) / (high - low)
            return math.exp(math.log(fast) + part * (math.log(slow) - math.log(fast)))
    return math.nan


def rates(result: dict, name: str, turn: int | None = None) -> list[tuple[float, float]]:
    """(recall, queries a second) of a peer: in one round, or by the median of all."""
    kind = clock(result["threads"])
    return [
        (point["recall"], point["queries"] / (statistics.median(point[kind]) if turn is None else point[kind][turn]))
        for point in result["peers"][name]["points"]
        if point[kind]
    ]


def spread(values: list[float], form: str) -> str:
    """Median (least to most)."""
    if any(math.isnan(value) for value in values):
        return "-"
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_table(result: dict) -> str:
    """Queries a second at equal recall, and the ratio to hnswlib in the same round."""
    turns = range(result["rounds"])
    head = ["library"]
    for recall in RECALLS:
        head += [f"QPS at {recall:.2f}"] + [f"× {BASE}"] * (BASE in result["peers"])
    head += ["most recall", "p50 / p95 / p99 µs at ≥ 0.95"]
    rows = []
    for name, peer in result["peers"].items():
        row = [name]
        for recall in RECALLS:
            found = [at_recall(rates(result, name, turn), recall) for turn in turns]
            row.append(spread(found, ",.0f"))
            if BASE in result["peers"]:
                base = [at_recall(rates(result, BASE, turn), recall) for turn in turns]
                ratios = [rate / other for rate, other in zip(found, base)]
                row.append(spread(ratios, ".2f" if ratios[0] > 0.1 else ".4f"))
        row.append(f"{max(point['recall'] for point in peer['points']):.4f}")
        calls = peer.get("latency", {}).get("rounds", [])
        row.append(" / ".join(f"{statistics.median(call[p] for call in calls) * 1e6:,.0f}" for p in ("p50", "p95", "p99"))
                   if calls else "-")  # fmt: skip
        rows.append(row)
    return table(head, rows)


def cost_table(result: dict) -> str:
    """What building, keeping and opening take."""
    head = ["library", "version", "build, s of processor", "disk, bytes a row", "memory, bytes a row",
            "of it anonymous", "index in memory, its own word", "open + first query, cold ms", "warm ms"]  # fmt: skip
    rows = []
    for name, peer in result["peers"].items():
        count, memory = result["rows"], peer.get("memory", {})

        def each(value) -> str:
            return "-" if value is None else f"{value / count:,.0f}"

        def opened(kind: str) -> str:
            times = [time["open"] + time["first_query"] for time in peer["open"][kind]]
            return f"{statistics.median(times) * 1e3:,.1f}" if times else "-"

        sizes = [each(size) for size in (peer["disk_bytes"], memory.get("rss"), memory.get("anonymous"), memory.get("index"))]
        rows.append([name, peer["version"], f"{peer['build']['cpu']:,.1f}", *sizes, opened("cold"), opened("warm")])
    return table(head, rows)


def title(result: dict) -> str:
    asked = "one query a call" if result["single"] else "all queries in one call where the library can"
    threads = "1 thread, time of the processor" if result["threads"] == 1 else f"{result['threads']} threads, wall clock"
    return (f"{result['label']}: {result['rows']:,} × {result['dim']}, {result['metric']}, recall@{result['k']} of "
            f"{result['query_count']:,} {result['queries']}; {threads}; {asked}; "
            f"median (least–most) of {result['rounds']} rounds")  # fmt: skip


def text(result: dict) -> str:
    parts = [f"### {title(result)}", speed_table(result), cost_table(result)]
    parts += [f"Left out: {name}: {reason}" for name, reason in result["skipped"].items()]
    return "\n\n".join(parts) + "\n"


COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#ff7f0e", "#7f7f7f", "#bcbd22")
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def family(name: str) -> str:
    return name.split(":")[0].split("-")[0]


def plot(result: dict, folder: Path) -> Path:
    """Recall to the right, queries a second upward: one line a peer, one colour a library."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from PIL import Image

    families = list(dict.fromkeys(family(name) for name in result["peers"]))
    used: dict[str, int] = {}
    figure, axes = pyplot.subplots(figsize=(9, 5.5))
    order = sorted(result["peers"], key=lambda name: -max(0, nan_to_zero(at_recall(rates(result, name), 0.95))))
    for name in order:
        points = [point for point in front(rates(result, name)) if point[0] >= 0.8]
        if not points:
            continue
        kind = family(name)
        variant = used[kind] = used.get(kind, -1) + 1
        ours = kind == "nearfield"
        axes.plot(*zip(*points), label=name, color=COLOURS[families.index(kind) % len(COLOURS)],
                  marker=MARKS[variant % len(MARKS)], linestyle=("-", "--", ":")[variant % 3], markersize=4,
                  linewidth=2.6 if ours else 1.2, zorder=3 if ours else 2)  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlim(0.8, 1.002)
    axes.set_xlabel(f"recall@{result['k']}")
    axes.set_ylabel("queries a second" + (", one thread" if result["threads"] == 1 else f", {result['threads']} threads"))
    axes.set_title(f"{result['label']}: {result['rows']:,} × {result['dim']}, {result['metric']}")
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), title="by speed at 0.95", title_fontsize=8)
    figure.tight_layout()
    threads = "" if result["threads"] == 1 else f"-{result['threads']}-threads"
    path = folder / f"{result['label']}{'-single' * result['single']}{threads}.png"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    # A picture in a repository stays for ever: few colours make it small.
    Image.open(drawn).convert("RGB").quantize(48).save(path, optimize=True)
    return path


def nan_to_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
