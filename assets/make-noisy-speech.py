#!/usr/bin/env python3
"""Makes noisy-speech.wav: ten seconds of synthetic speech in synthetic street noise.

    python3 make-noisy-speech.py [OUTPUT.wav]

16 kHz, mono, 16 bit. espeak-ng speaks; everything else is computed here from a fixed seed, so the
same espeak-ng and numpy give the same bytes. README.md beside this file says where it was run.

    espeak-ng -> resample -> place ---+
                                      +-> mix at SNR_DB -> mute -> peak, dither -> WAV
    rumble, hiss, cars, horn, clicks -+

MUTED spans are near-silence, as from a recorder whose input is closed: a gate finds its quiet
frames there. Between the other sentences only the speaker pauses and the street goes on.
"""

import io
import subprocess
import sys
import wave

import numpy as np

RATE_HZ = 16_000
SECONDS = 10.0
SAMPLES = int(RATE_HZ * SECONDS)
SNR_DB = 8.0
PEAK_DBFS = -3.0

# When each sentence begins, the voice, its pitch and speed, and the words.
SENTENCES = [
    (0.85, "en-gb+m3", 42, 165, "The last ferry leaves at nine."),
    (3.05, "en-us+f2", 58, 160, "Then we still have time for tea."),
    (5.95, "en-gb+m3", 42, 165, "Bring the blue umbrella."),
    (7.75, "en-us+f2", 58, 160, "I left it on the train."),
]

# Seconds from and to which the input is closed, and how long it takes to open or close.
MUTED = [(0.0, 0.72), (5.2, 5.85)]
FADE_S = 0.01

TIME_S = np.arange(SAMPLES) / RATE_HZ


def main():
    output = sys.argv[1] if len(sys.argv) > 1 else "noisy-speech.wav"
    random = np.random.default_rng(20261120)
    speech = all_sentences()
    noise = street(random)
    gain = snr_db(speech, noise) - SNR_DB
    mixed = (speech + noise * 10 ** (gain / 20)) * openness()
    mixed *= 10 ** (PEAK_DBFS / 20) / np.abs(mixed).max()
    pcm = quantized(mixed, random)
    with wave.open(output, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.astype("<i2").tobytes())
    report(output, speech, noise * 10 ** (gain / 20), pcm)


# Speech


def all_sentences():
    speech = np.zeros(SAMPLES)
    for start_s, voice, pitch, speed, words in SENTENCES:
        spoken = sentence(voice, pitch, speed, words)
        start = int(start_s * RATE_HZ)
        end = start + len(spoken)
        assert end <= SAMPLES, f"'{words}' ends at {end / RATE_HZ:.2f} s"
        speech[start:end] += spoken
        assert openness()[start:end].min() == 1, f"'{words}' is cut by a muted span"
    return speech


def sentence(voice, pitch, speed, words):
    """One sentence at RATE_HZ, trimmed, its loudest 20 ms at an RMS of 1."""
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", words]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(wav)) as file:
        assert file.getframerate() == 22_050 and file.getnchannels() == 1
        frames = file.readframes(file.getnframes())
    spoken = resampled(np.frombuffer(frames, "<i2").astype(float))
    loud = np.flatnonzero(np.abs(spoken) > 0.003 * np.abs(spoken).max())
    spoken = spoken[loud[0] : loud[-1] + 1]
    return spoken / np.sqrt(blocks(spoken).max())


def resampled(x):
    """From 22,050 Hz to 16,000 Hz, a ratio of 441 to 320, by cutting the spectrum."""
    x = np.pad(x, (0, -len(x) % 441))
    length = len(x) // 441 * 320
    return np.fft.irfft(np.fft.rfft(x)[: length // 2 + 1], length) * length / len(x)


# Noise


def street(random):
    """Relative levels only: main() sets the level of the sum."""
    rumble = shaped(random, lambda f: 1 / (1 + (f / 140) ** 1.3)) * 10 ** (wind_db(random) / 20)
    hiss = shaped(random, lambda f: 1 / (1 + (f / 900) ** 0.6))
    cars = car(random, 2.7, 1.1, 78, 52) + car(random, 8.1, 1.2, 61, 88)
    return rumble + 0.9 * hiss + 2.2 * cars + horn(7.2, 0.3) + clicks(random)


def shaped(random, magnitude, low_hz=25):
    """Noise of RMS 1 whose spectrum follows magnitude(frequency in Hz)."""
    spectrum = np.fft.rfft(random.standard_normal(SAMPLES))
    frequency = np.fft.rfftfreq(SAMPLES, 1 / RATE_HZ)
    spectrum *= magnitude(frequency) * (frequency > low_hz)
    noise = np.fft.irfft(spectrum, SAMPLES)
    return noise / np.sqrt(np.mean(noise**2))


def wind_db(random):
    """A level that wanders slowly, by about 5 dB each way."""
    return 5 * shaped(random, lambda f: f < 0.9, low_hz=0)


def car(random, nearest_s, width_s, from_hz, to_hz):
    """An engine that passes: harmonics of a sweeping tone, and its tyres."""
    near = 1 / (1 + ((TIME_S - nearest_s) / width_s * 2) ** 2)
    passed = 1 / (1 + np.exp(-(TIME_S - nearest_s) / (0.4 * width_s)))
    pitch_hz = from_hz + (to_hz - from_hz) * passed
    # Doppler at about 50 km/h: 4 % up before, 4 % down after.
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1.04 - 0.08 * passed)) / RATE_HZ
    engine = sum(
        np.sin(k * phase + random.uniform(0, 2 * np.pi)) / k**0.9 for k in range(1, 25)
    )
    tyres = shaped(random, lambda f: np.exp(-((np.log2((f + 1) / 800)) ** 2)))
    return near * (0.6 * engine + 0.5 * tyres)


def horn(start_s, length_s):
    """Two tones a third apart, with harmonics."""
    since = TIME_S - start_s
    edge = np.minimum(since, length_s - since) / 0.02
    tones = sum(
        np.sin(2 * np.pi * k * tone_hz * since) / k for tone_hz in (415, 523) for k in range(1, 7)
    )
    return np.clip(edge, 0, 1) * tones


def clicks(random):
    """Fourteen knocks of a few milliseconds, anywhere."""
    noise = np.zeros(SAMPLES)
    for start in random.integers(0, SAMPLES - 400, 14):
        decay = np.exp(-np.arange(400) / RATE_HZ / random.uniform(0.001, 0.004))
        noise[start : start + 400] += random.uniform(2, 6) * decay * random.standard_normal(400)
    return noise


# Levels


def openness():
    """1 where the input is open, 0 where it is muted, with smooth edges."""
    muted = np.zeros(SAMPLES)
    for from_s, to_s in MUTED:
        inside_s = np.minimum(TIME_S - from_s if from_s > 0 else np.inf, to_s - TIME_S)
        muted = np.maximum(muted, np.clip(inside_s / FADE_S, 0, 1))
    return 0.5 + 0.5 * np.cos(np.pi * muted)


def blocks(x):
    """The mean power of each 20 ms."""
    length = RATE_HZ // 50
    return np.mean(x[: len(x) // length * length].reshape(-1, length) ** 2, axis=1)


def snr_db(speech, noise):
    """Power of the speech while spoken over that of the noise while the input is open."""
    spoken = blocks(speech)
    spoken = spoken[spoken > 1e-4 * spoken.max()].mean()
    return 10 * np.log10(spoken / np.mean(noise[openness() == 1] ** 2))


def quantized(x, random):
    """To 16 bit with triangular dither, so that muted spans hold noise of one or two steps."""
    dither = random.uniform(-1, 1, SAMPLES) + random.uniform(-1, 1, SAMPLES)
    return np.round(x * 32768 + 0.5 * dither).astype(int)


def report(output, speech, noise, pcm):
    x = pcm / 32768
    frame_peaks = np.abs(x[: SAMPLES // 1024 * 1024].reshape(-1, 1024)).max(axis=1)
    quiet = frame_peaks < 10 ** (-60 / 20)
    loudest_db = 20 * np.log10(frame_peaks[quiet].max())
    peak_db = 20 * np.log10(np.abs(x).max())
    print(f"{output}: SNR {snr_db(speech, noise):.1f} dB, peak {peak_db:.1f} dBFS")
    print(f"{quiet.sum()} of {len(quiet)} frames of 1024 are quiet at -60 dBFS;", end=" ")
    print(f"the loudest of them reaches {loudest_db:.0f} dBFS")


main()
