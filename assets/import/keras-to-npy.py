#!/usr/bin/env python3
"""Writes the weights of a Keras .h5 file as .npy arrays, which `auricle model import` reads.

    pip install h5py numpy
    python3 keras-to-npy.py DTLN_norm_40h.h5 weights
    auricle model import dtln --arrays weights -o dtln-norm.safetensors

Each array is called <layer>.<weight>.npy, as `lstm_1.recurrent_kernel.npy`. The folder must be new, so that no array
of another model is left in it.
"""

import pathlib
import sys

import h5py
import numpy as np


def main(weights: str, folder: str) -> None:
    out = pathlib.Path(folder)
    out.mkdir(parents=True)

    def save(path: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            parts = path.removeprefix("model_weights/").split("/")
            name = f"{parts[0]}.{parts[-1].removesuffix(':0')}.npy"
            np.save(out / name, np.ascontiguousarray(item, dtype="<f4"))
            print(name, item.shape)

    with h5py.File(weights) as file:
        file.visititems(save)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
