"""CRC-32C in NumPy: milliseconds for a megabyte, without a compiled library."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray


def crc32c(raw: bytes) -> int:
    """The CRC-32C (Castagnoli) of some bytes: neighbours are joined in pairs, and the pairs again, all at once in NumPy.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    # Zeros in front change nothing; these four bytes bring a register of zeros to the ones that the definition starts from.
    start = bytes.fromhex("54641f64") + raw
    levels = max(len(start) - 1, 1).bit_length()
    states = _table()[np.frombuffer(start.rjust(1 << levels, b"\0"), np.uint8)]
    for level in range(levels):
        states = _shift(level, states[0::2]) ^ states[1::2]
    return int(states[0]) ^ 0xFFFFFFFF


@cache
def _table() -> NDArray[np.uint32]:
    """(256,) uint32: the register after one byte."""
    states: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        states = np.where(states & 1, (states >> 1) ^ np.uint32(0x82F63B78), states >> 1)
    return states


@cache
def _powers(level: int) -> NDArray[np.uint32]:
    """(4, 256) uint32: what each byte of a register becomes after 2**level bytes of zeros (the map is linear over bits)."""
    if level == 0:
        bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
        columns = _table()[bits & 255] ^ (bits >> 8)
    else:
        half = _powers(level - 1)
        columns = _shift(level - 1, half[np.repeat(np.arange(4), 8), np.tile(1 << np.arange(8), 4)])
    chosen = (np.arange(256)[:, None] >> np.arange(8)) & 1 == 1
    zero = np.uint32(0)
    return np.stack([np.bitwise_xor.reduce(np.where(chosen, columns[8 * byte : 8 * byte + 8], zero), axis=1) for byte in range(4)])


def _shift(level: int, states: NDArray[np.uint32]) -> NDArray[np.uint32]:
    by_byte = _powers(level)
    low = by_byte[0][states & 255] ^ by_byte[1][(states >> 8) & 255]
    high = by_byte[2][(states >> 16) & 255] ^ by_byte[3][states >> 24]
    joined: NDArray[np.uint32] = low ^ high
    return joined
