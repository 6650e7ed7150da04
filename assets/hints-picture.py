#!/usr/bin/env python3
"""Draws what examples/clients/adaptive.py wrote with --csv: `python3 assets/hints-picture.py run.csv assets/hints.png`.

Needs matplotlib."""

import csv
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402


def main():
    source, target = sys.argv[1:3]
    with open(source, newline="") as file:
        rows = [{name: value for name, value in row.items()} for row in csv.DictReader(file)]
    at = [float(row["seconds"]) for row in rows]
    disturbed = [float(row["seconds"]) for row in rows if row["disturbed"] == "1"]
    figure, (batch, latency, rate) = pyplot.subplots(3, 1, sharex=True, figsize=(9, 6), dpi=110)
    for axes in (batch, latency, rate):
        axes.grid(alpha=0.3)
        if disturbed:
            axes.axvspan(disturbed[0], disturbed[-1], color="#d55e00", alpha=0.12, linewidth=0)
    batch.step(at, [int(row["batch"]) for row in rows], where="post", color="#0072b2")
    batch.set_yscale("log", base=2)
    batch.set_ylabel("frames in a batch")
    batch.set_title("A client that follows /gpu/hints; shaded: others send urgent work", loc="left", fontsize=11)
    known = [(float(row["seconds"]), float(row["p95_ms"])) for row in rows if row["p95_ms"]]
    latency.plot(*zip(*known), color="#0072b2", marker=".", markersize=4)
    latency.axhline(float(rows[0]["target_ms"]), color="#d55e00", linestyle="--", linewidth=1)
    latency.annotate("target", (at[0], float(rows[0]["target_ms"])), xytext=(0, 3), textcoords="offset points",
                     color="#d55e00", fontsize=9)
    latency.set_ylim(bottom=0)
    latency.set_ylabel("p95, ms")
    rate.plot(at, [float(row["frames_per_s"]) for row in rows], color="#009e73")
    rate.set_ylim(bottom=0)
    rate.set_ylabel("frames/s")
    rate.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(target)


if __name__ == "__main__":
    main()
