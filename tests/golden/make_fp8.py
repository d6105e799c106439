"""Makes tests/golden/fp8_v1.bin: FP8 codes and values by ml_dtypes, with no arithmetic of our own.

Little-endian, without padding. For E4M3FN, then for E5M2:
    256 float32       the value of each code
    65,536 uint8      the code of each float16, in the order of its bits, by ml_dtypes' cast
    65,536 uint8      the same for each bfloat16
Then, for scales in blocks of 32:
    256 float32       the value of each E8M0 code
    32,640 uint8      E8M0 code of E4M3FN's scale for each finite amax >= 0 of bfloat16, in the order
                      of its bits: 2^(floor(log2 amax) - floor(log2 largest)), not below 2^-100,
                      and 1 for zero
    32,640 uint8      the same for E5M2
ml_dtypes' casts do not saturate: too large becomes Inf, or NaN in E4M3FN.

    python3 -m pip install ml_dtypes==0.6.0 numpy==2.3.4
    python3 tests/golden/make_fp8.py
"""

import pathlib

import ml_dtypes
import numpy as np

FORMATS = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
EVERY_8 = np.arange(256, dtype=np.uint8)
EVERY_16 = np.arange(65536, dtype=np.uint16)
SMALLEST_SCALE_EXPONENT = -100


def floor_log2(values):
    return np.frexp(values)[1] - 1


def block_scale_codes(fp8):
    amax = np.arange(0x7F80, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float64)
    largest = float(ml_dtypes.finfo(fp8).max)
    exponents = np.maximum(floor_log2(amax) - floor_log2(largest), SMALLEST_SCALE_EXPONENT)
    scales = np.where(amax == 0, 1.0, np.ldexp(1.0, exponents))
    return scales.astype(np.float32).astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)


def main():
    parts = []
    for fp8 in FORMATS:
        parts.append(EVERY_8.view(fp8).astype("<f4"))
        parts.append(EVERY_16.view(np.float16).astype(fp8).view(np.uint8))
        parts.append(EVERY_16.view(ml_dtypes.bfloat16).astype(fp8).view(np.uint8))
    parts.append(EVERY_8.view(ml_dtypes.float8_e8m0fnu).astype("<f4"))
    parts += [block_scale_codes(fp8) for fp8 in FORMATS]
    path = pathlib.Path(__file__).with_name("fp8_v1.bin")
    path.write_bytes(b"".join(part.tobytes() for part in parts))
    print(f"{path}: {path.stat().st_size} bytes, ml_dtypes {ml_dtypes.__version__}")


if __name__ == "__main__":
    with np.errstate(over="ignore", invalid="ignore"):  # the casts overflow on purpose
        main()
