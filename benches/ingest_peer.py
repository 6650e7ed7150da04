"""Ingest beside residue-protocol, in turns: `pip install residue-protocol numpy`, then

    cargo build --release && python3 benches/ingest_peer.py target/release/auricle [rounds [block]]

Both take the same kind of signal: 131,072 frames of 1024 samples, 99 of 100 silent, pushed 65,536 at a time: from memory,
or with a block of fewer frames, such as 256, those again and again, as a live source leaves its samples in a cache.
Ours goes through gate, ring, filter and out again; theirs through gate, ring and a statistic of each live frame. Prints
frames per second, medians of the rounds, and the median of the ratios within a round, as one JSON object.
"""

import json
import statistics
import subprocess
import sys
import time

import numpy
import residue

FRAMES, LEN, PUSH = 128 * 1024, 1024, 65_536


def signal(block):
    random = numpy.random.default_rng(1)
    samples = numpy.full((block, LEN), 1e-6, numpy.float32)
    live = random.random(block) < 0.01
    samples[live] = random.random((int(live.sum()), LEN), dtype=numpy.float32) - 0.5
    return samples.reshape(-1)


def asynchronous(samples):
    """Frames per second until all has been pushed, and until all has been worked on."""
    observer = residue.AsyncObserver(LEN, 10_000)
    observer.start()
    start = time.perf_counter()
    at = 0
    while at < FRAMES * LEN:
        place = at % samples.size
        at += observer.push_data(samples[place : place + PUSH])
    pushed = time.perf_counter() - start
    while observer.poll_telemetry().total_samples_processed < FRAMES and time.perf_counter() - start < 30:
        pass
    done = time.perf_counter() - start
    observer.stop()
    return FRAMES / pushed, FRAMES / done


def synchronous(samples):
    """Frames per second, in calls of the length that suits it best."""
    controller = residue.core.create_entropy_controller_v3()
    start = time.perf_counter()
    call = min(samples.size, 16_384 * LEN)
    for at in range(0, FRAMES * LEN, call):
        place = at % samples.size
        controller.batch_infer_walled(samples[place : place + call], LEN)
    return FRAMES / (time.perf_counter() - start)


def ours(binary, block):
    command = [binary, "bench", "ingest", "--rounds", "5", "--block", str(block), "--json", "-"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main():
    binary, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    block = int(sys.argv[3]) if len(sys.argv) > 3 else FRAMES
    samples = signal(block)
    rows = []
    for _ in range(rounds):
        figures = ours(binary, block)
        pushed, done = asynchronous(samples)
        rows.append((figures["frames_per_s"], figures["read_frames_per_s"], pushed, done, synchronous(samples)))
    median = lambda values: statistics.median(list(values))
    print(json.dumps({
        "block": block,
        "ours": median(row[0] for row in rows),
        "read": median(row[1] for row in rows),
        "residue_async_push": median(row[2] for row in rows),
        "residue_async_done": median(row[3] for row in rows),
        "residue_sync": median(row[4] for row in rows),
        "ours_vs_async": median(row[0] / row[3] for row in rows),
        "ours_vs_sync": median(row[0] / row[4] for row in rows),
        "ours_vs_read": median(row[0] / row[1] for row in rows),
    }, indent=2))


main()
