#!/usr/bin/env python3
"""Makes quality.json: what published implementations say of signals that tests/quality.rs makes too.

    pip install numpy scipy pystoi && ./make-quality.py > quality.json

STOI is pystoi's. The other three measures are written here from their formulas, with numpy, so that the
Rust of this project is not compared with itself. Signals are made from formulas and from a linear
congruential generator, on both sides: no recording is needed but assets/noisy-speech.wav.
"""

import importlib.metadata
import json
import pathlib
import wave

import numpy as np
import pystoi
import scipy

RATES_HZ = [8_000, 10_000, 11_025, 16_000, 22_050, 44_100, 48_000]
RECORDING = pathlib.Path(__file__).parents[2] / "assets" / "noisy-speech.wav"


def voice(rate_hz, count):
    """A gliding tone with 40 harmonics, spoken in syllables, with a pause of 0.4 s."""
    t = np.arange(count) / rate_hz
    phase = 2 * np.pi * 120 * t + 43 * np.sin(4.4 * t)
    tone = sum(np.sin(h * phase) * np.cos(0.9 * h * t) ** 2 / h for h in range(1, 41) if h * 311 < rate_hz / 2)
    syllables = np.maximum(0.0, np.sin(2 * np.pi * 2.3 * t)) ** 2
    pause = (t > 1.0) & (t < 1.4)
    return (0.2 * tone * syllables * ~pause).astype(np.float32)


def noise(count):
    """Evenly from -1 to 1."""
    state, out = 20261121, np.empty(count)
    for n in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[n] = (state >> 40) / 2**23 - 1
    return out


def estimates(clean):
    """What a test hears: noise at three levels, and a dull and quiet copy."""
    hiss = noise(len(clean))
    wide = clean.astype(float)
    for level in [0.01, 0.1, 0.5]:
        yield f"noise {level}", (wide + level * hiss).astype(np.float32)
    yield "dull", (0.3 * (wide + np.roll(wide, 1) + np.roll(wide, 2))).astype(np.float32)


def si_sdr_db(s, y):
    a = s @ y / (s @ s)
    return 10 * np.log10(np.sum((a * s) ** 2) / np.sum((y - a * s) ** 2))


def frames(x, length, hop):
    count = (len(x) - length) // hop + 1
    window = np.hanning(length + 2)[1:-1]
    return np.array([window * x[i * hop : i * hop + length] for i in range(count)])


def segmental_snr_db(s, y, rate_hz):
    length = int(np.floor(0.03 * rate_hz + 0.5))
    signal = np.sum(frames(s, length, length // 4) ** 2, axis=1)
    rest = np.sum(frames(s - y, length, length // 4) ** 2, axis=1)
    eps = np.finfo(float).eps
    return np.mean(np.clip(10 * np.log10(signal / (rest + eps) + eps), -10, 35))


def lsd_db(s, y, rate_hz):
    length = int(np.floor(0.032 * rate_hz + 0.5))
    with np.errstate(divide="ignore"):
        spectra = [20 * np.log10(np.abs(np.fft.rfft(frames(x, length, length // 2)))) for x in (s, y)]
    floor = spectra[0].max() - 50
    apart = np.maximum(spectra[0], floor) - np.maximum(spectra[1], floor)
    return np.mean(np.sqrt(np.mean(apart**2, axis=1)))


def scores(name, rate_hz, clean):
    for change, estimate in estimates(clean):
        s, y = clean.astype(float), estimate.astype(float)
        yield {
            "signal": name,
            "rate_hz": rate_hz,
            "samples": len(s),
            "change": change,
            "si_sdr_db": si_sdr_db(s, y),
            "segmental_snr_db": segmental_snr_db(s, y, rate_hz),
            "lsd_db": lsd_db(s, y, rate_hz),
            "stoi": pystoi.stoi(s, y, rate_hz),
        }


def recording():
    with wave.open(str(RECORDING)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return (pcm / 2**15).astype(np.float32)


def main():
    made_with = f"pystoi {importlib.metadata.version('pystoi')}, numpy {np.__version__}, scipy {scipy.__version__}"
    cases = [row for rate_hz in RATES_HZ for row in scores("voice", rate_hz, voice(rate_hz, rate_hz * 5 // 2 + 7))]
    cases += scores("recording", 16_000, recording())
    print(json.dumps({"made_with": made_with, "cases": cases}, indent=1))


main()
