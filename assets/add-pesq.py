#!/usr/bin/env python3
"""Adds PESQ to what `auricle eval` found.

    pip install pesq scipy
    auricle eval --noisy noisy/ --clean clean/ --json --save cleaned/ > scores.json
    python3 add-pesq.py scores.json [-o scores-with-pesq.json]

PESQ (ITU-T P.862.2, wideband, 1.0 to 4.64, more is better) is not part of Auricle: its reference code is the
ITU's, under terms of its own. This script asks PyPI's `pesq`, which wraps it, about every file and method of
scores.json (the input from its folder, the others from where --save put them), at 16 kHz. It prints each file
and the means, and with -o writes the same JSON again with `pesq_wb` among the scores; a file in which PESQ
finds no speech has null there. Folders in scores.json are as they were given: run this where `auricle` ran.
"""

import argparse
import json
import multiprocessing
import pathlib
import warnings

import numpy as np
import pesq
import scipy.io.wavfile
import scipy.signal

RATE_HZ = 16_000


def main():
    options = arguments()
    report = json.loads(options.scores.read_text())
    folders = {method["name"]: method["folder"] for method in report["methods"]}
    folders["input"] = report["noisy"]
    if missing := [name for name, folder in folders.items() if folder is None]:
        raise SystemExit(f"add-pesq.py: {', '.join(missing)} was not saved; run `auricle eval` with --save")
    jobs = [
        (pathlib.Path(report["clean"]) / file["name"], pathlib.Path(folder) / file["name"])
        for file in report["files"]
        for folder in folders.values()
    ]
    with multiprocessing.Pool() as pool:
        found = iter(pool.starmap(score, jobs))
    for file in report["files"]:
        for method in folders:
            file["scores"][method]["pesq_wb"] = next(found)
    for method in folders:
        known = [file["scores"][method]["pesq_wb"] for file in report["files"]]
        known = [value for value in known if value is not None]
        report["mean"][method]["pesq_wb"] = float(np.mean(known)) if known else None
    show(report, folders)
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description="Adds PESQ to what `auricle eval --json --save DIR` found.")
    parser.add_argument("scores", type=pathlib.Path, help="the JSON of `auricle eval`")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="write the JSON again, with PESQ")
    return parser.parse_args()


def score(clean_path, estimate_path):
    """The mean over channels; none where PESQ finds nothing to compare."""
    pairs = zip(channels(clean_path), channels(estimate_path), strict=True)
    try:
        return float(np.mean([pesq.pesq(RATE_HZ, clean, estimate, "wb") for clean, estimate in pairs]))
    except pesq.PesqError as error:
        print(f"{estimate_path}: no PESQ: {error}")
        return None


def channels(path):
    """Each channel as floats at 16 kHz."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.io.wavfile.WavFileWarning)
        rate_hz, samples = scipy.io.wavfile.read(path)
    if samples.dtype == np.uint8:
        samples = samples.astype(float) - 128
    elif samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    samples = np.atleast_2d(samples.T.astype(float))
    common = np.gcd(rate_hz, RATE_HZ)
    return scipy.signal.resample_poly(samples, RATE_HZ // common, rate_hz // common, axis=1)


def show(report, folders):
    width = max(len(file["name"]) for file in report["files"])
    columns = [max(len(method), 6) for method in folders]
    print("  ".join(["PESQ-WB".ljust(width)] + [m.rjust(w) for m, w in zip(folders, columns)]))
    rows = [(file["name"], file["scores"]) for file in report["files"]] + [("mean", report["mean"])]
    for name, scores in rows:
        values = [scores[method]["pesq_wb"] for method in folders]
        cells = ["-".rjust(w) if v is None else f"{v:{w}.2f}" for v, w in zip(values, columns)]
        print("  ".join([name.ljust(width)] + cells))


if __name__ == "__main__":
    main()
