"""What fits an accumulator: exact integer bounds on dot products of integer weights and inputs.

For one output channel with integer weights q (length K) and inputs x in [a, b], widened to hold 0
(a' = min(a, 0), b' = max(b, 0)), with Sp the sum of the positive weights and Sn the sum of the
magnitudes of the negative ones, a P-bit accumulator holds every sum when

    b'·Sp - a'·Sn <= L    and    -a'·Sp + b'·Sn <= L,    L = 2^(P-1) - 1.

Because 0 lies in [a', b'], the sum over *any* subset of the products lies between the two extremes
(leave out a tap by setting its input to 0), so the one test covers every order of accumulation,
every split over SIMD lanes or tiles, and every skipped tap. Both limits are L, not -2^(P-1): the
proof then survives a channel's change of sign, as a negative batch-normalization gamma makes.

A2Q (arXiv 2308.13504) bounds the L1 norm Sp + Sn; A2Q+ (arXiv 2401.10432) takes Sp and Sn apart,
as here. Everything is counted in 64-bit or Python integers, never in floating point. Only NumPy is
needed.
"""

import operator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]

MIN_ACC_BITS = 2
MAX_ACC_BITS = 32

# Channels are taken in blocks of about this many weights, so that a large layer's 64-bit running
# sums stay within some tens of megabytes.
_BLOCK_WEIGHTS = 1 << 20


def _integer(value: Any, name: str) -> int:
    """`value` as a Python int; a bool is not a number here."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, received the bool {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name}: expected an integer, received {value!r} of type {type(value).__name__}"
        ) from None


def check_acc_bits(acc_bits: Any) -> int:
    """The width of an accumulator as a Python int.

    Args:
        acc_bits: Bits of a two's complement accumulator, an integer in 2..32.

    Raises:
        TypeError: Not an integer, or a bool.
        ValueError: Outside 2..32.
    """
    value = _integer(acc_bits, "acc_bits")
    if not MIN_ACC_BITS <= value <= MAX_ACC_BITS:
        raise ValueError(
            f"acc_bits: expected an integer in {MIN_ACC_BITS}..{MAX_ACC_BITS}, received {value}"
        )
    return value


def accumulator_limit(acc_bits: int) -> int:
    """L = 2^(P-1) - 1, the magnitude that an accumulator of P = `acc_bits` holds, either sign."""
    return (1 << (check_acc_bits(acc_bits) - 1)) - 1


def operand_range(bits: int) -> tuple[int, int]:
    """The stored, centred range [-2^(bits-1), 2^(bits-1) - 1] of an operand of 2..8 bits.

    Raises:
        TypeError: `bits` is not an integer, or a bool.
        ValueError: `bits` is outside 2..8.
    """
    value = _integer(bits, "bits")
    if not 2 <= value <= 8:
        raise ValueError(f"bits: expected an integer in 2..8 (stored as int8), received {value}")
    half = 1 << (value - 1)
    return -half, half - 1


@dataclass(frozen=True)
class Partition:
    """How one dot product of length K is cut into cells, each with an accumulator of its own.

    Attributes:
        kind: "all", one cell (monolithic: any hardware, any order); "runs", cells of `size`
            consecutive k in file order (kh, kw, cin), the last one shorter where `size` does not
            divide K (the tile of AXE, arXiv 2409.17092); "lanes", `size` cells, cell = k mod size.
        size: 0 for "all", otherwise at least 1.

    A bound that holds for a partition holds for every refinement of it.

    Raises:
        TypeError: `size` is not an integer, or a bool.
        ValueError: An unknown kind, or a size that does not go with it.
    """

    kind: Literal["all", "runs", "lanes"] = "all"
    size: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("all", "runs", "lanes"):
            raise ValueError(
                f"Partition.kind: expected 'all', 'runs' or 'lanes', received {self.kind!r}"
            )
        size = _integer(self.size, "Partition.size")
        if self.kind == "all" and size != 0:
            raise ValueError(f"Partition.size: expected 0 for kind 'all', received {size}")
        if self.kind != "all" and size < 1:
            raise ValueError(
                f"Partition.size: expected at least 1 for kind {self.kind!r}, received {size}"
            )
        object.__setattr__(self, "size", size)

    @classmethod
    def of_tile(cls, tile: int | None) -> "Partition":
        """Runs of `tile` in file order; None is the monolithic partition."""
        return cls() if tile is None else cls("runs", tile)

    def cells(self, k: int) -> IntArray:
        """The cell of each position: int64 [k], numbered from 0 without gaps."""
        positions = np.arange(k, dtype=np.int64)
        if self.kind == "all":
            return np.zeros(k, np.int64)
        return positions // self.size if self.kind == "runs" else positions % self.size

    def __str__(self) -> str:
        if self.kind == "all":
            return "monolithic"
        return f"{'tile' if self.kind == 'runs' else 'lanes'}={self.size}"


ALL = Partition()


def _check_weights(q: ArrayLike) -> NDArray[Any]:
    weights = np.asarray(q)
    if weights.dtype.kind not in "iu":
        raise TypeError(f"q: expected an integer array, received dtype {weights.dtype}")
    if weights.ndim != 2:
        raise ValueError(f"q: expected shape [channels, K], received shape {weights.shape}")
    return weights


def widened_range(a: int, b: int) -> tuple[int, int]:
    """[a, b] widened to hold 0, as Python ints.

    Raises:
        TypeError: An end is not an integer, or is a bool.
        ValueError: a > b.
    """
    low, high = _integer(a, "a"), _integer(b, "b")
    if low > high:
        raise ValueError(f"input range: expected a <= b, received a={low}, b={high}")
    return min(low, 0), max(high, 0)


def _check_exact(weights: NDArray[Any], low: int, high: int) -> None:
    """Refuses operands whose sums could leave int64, before anything is summed."""
    if weights.size == 0:
        return
    magnitude = max(int(weights.max()), -int(weights.min()))
    if weights.shape[1] * magnitude * (high - low) >= 1 << 62:
        raise ValueError(
            f"q: K={weights.shape[1]}, |q|<={magnitude} and inputs in [{low}, {high}] "
            "do not fit exact 64-bit sums"
        )


def _starts(partition: Partition, k: int) -> NDArray[np.intp]:
    """Where each cell of "all" or "runs" begins."""
    return np.arange(0, k, partition.size if partition.kind == "runs" else k, dtype=np.intp)


def _cell_sums(parts: IntArray, partition: Partition) -> IntArray:
    """int64 [channels, K] summed within each cell: [channels, cells]."""
    channels, k = parts.shape
    if partition.kind != "lanes":
        return np.add.reduceat(parts, _starts(partition, k), axis=1)
    lanes = min(partition.size, k)
    padded = np.zeros((channels, -(-k // lanes) * lanes), np.int64)
    padded[:, :k] = parts
    return padded.reshape(channels, -1, lanes).sum(axis=1)


def _blocks(channels: int, k: int) -> list[slice]:
    step = max(1, _BLOCK_WEIGHTS // max(k, 1))
    return [slice(start, min(start + step, channels)) for start in range(0, channels, step)]


def _split(weights: NDArray[Any]) -> tuple[IntArray, IntArray]:
    """max(q, 0) and max(-q, 0) in int64: negating int8 -128 in place would stay -128."""
    wide = weights.astype(np.int64)
    return np.maximum(wide, 0), np.maximum(-wide, 0)


def _extremes(sp: IntArray, sn: IntArray, low: int, high: int) -> IntArray:
    return np.maximum(high * sp - low * sn, high * sn - low * sp)


def worst_case(q: ArrayLike, a: int, b: int, partition: Partition = ALL) -> IntArray:
    """The largest magnitude that any partial sum of a channel's products can reach, either sign.

    Args:
        q: Integer weights [channels, K], K in file order.
        a: Smallest stored input.
        b: Largest stored input. The range is widened to hold 0.
        partition: Sums do not cross its cells; the worst cell counts.

    Returns:
        int64 [channels]: max over cells of both sides of the test in the module's docstring.

    Raises:
        TypeError: `q` is not of an integer dtype, or an end of the range is not an integer.
        ValueError: Wrong shape, a > b, or operands too large for exact 64-bit sums.
    """
    weights = _check_weights(q)
    low, high = widened_range(a, b)
    _check_exact(weights, low, high)
    channels, k = weights.shape
    worst = np.zeros(channels, np.int64)
    if k == 0:
        return worst
    for block in _blocks(channels, k):
        sp, sn = _split(weights[block])
        worst[block] = _extremes(
            _cell_sums(sp, partition), _cell_sums(sn, partition), low, high
        ).max(axis=1)
    return worst


def fits(
    q: ArrayLike, a: int, b: int, acc_bits: int, partition: Partition = ALL
) -> NDArray[np.bool_]:
    """Whether each channel fits an accumulator of `acc_bits`: bool [channels].

    Args:
        q: Integer weights [channels, K], K in file order.
        a: Smallest stored input.
        b: Largest stored input. The range is widened to hold 0.
        acc_bits: P, 2..32.
        partition: Sums do not cross its cells; the worst cell counts.

    Raises: as worst_case.
    """
    return worst_case(q, a, b, partition) <= accumulator_limit(acc_bits)


def budget(acc_bits: int, a: int, b: int) -> int:
    """The largest L1 norm of integer weights that always fits: floor(L / max(b', -a')).

    Raises:
        TypeError: An argument is not an integer, or is a bool.
        ValueError: `acc_bits` outside 2..32, a > b, or the range is {0}, where any weights fit.
    """
    limit = accumulator_limit(acc_bits)
    low, high = widened_range(a, b)
    if low == high:
        raise ValueError("input range: [0, 0] leaves no bound on the weights; expected another")
    return limit // max(high, -low)


def bits_for(worst: int) -> int:
    """The narrowest accumulator, of at least 2 bits, that holds `worst` with either sign."""
    return max(MIN_ACC_BITS, worst.bit_length() + 1)


def least_acc_bits(q: ArrayLike, a: int, b: int, partition: Partition = ALL) -> IntArray:
    """The narrowest accumulator that each channel fits: int64 [channels], at least 2.

    Args:
        q: Integer weights [channels, K], K in file order.
        a: Smallest stored input.
        b: Largest stored input. The range is widened to hold 0.
        partition: Sums do not cross its cells; the worst cell counts.

    Raises: as worst_case.
    """
    worst = worst_case(q, a, b, partition)
    return np.array([bits_for(int(w)) for w in worst], np.int64)


def largest_safe_tile(q: ArrayLike, a: int, b: int, acc_bits: int) -> IntArray:
    """The largest T <= K whose runs of T in file order all fit, per channel: int64 [channels].

    0 where a single product already exceeds the accumulator. A smaller tile than the one returned
    need not fit, unless it divides it: its runs are cut elsewhere.

    Args:
        q: Integer weights [channels, K], K in file order.
        a: Smallest stored input.
        b: Largest stored input. The range is widened to hold 0.
        acc_bits: P, 2..32.

    Raises: as worst_case, and as check_acc_bits.
    """
    limit = accumulator_limit(acc_bits)
    weights = _check_weights(q)
    low, high = widened_range(a, b)
    _check_exact(weights, low, high)
    channels, k = weights.shape
    tiles = np.zeros(channels, np.int64)
    if k == 0:
        return tiles
    for block in _blocks(channels, k):
        tiles[block] = _largest_tiles(weights[block], low, high, limit)
    return tiles


def _largest_tiles(weights: NDArray[Any], low: int, high: int, limit: int) -> IntArray:
    channels, k = weights.shape
    sp, sn = _split(weights)
    sums = np.zeros((2, channels, k + 1), np.int64)
    np.cumsum(high * sp - low * sn, axis=1, out=sums[0, :, 1:])
    np.cumsum(high * sn - low * sp, axis=1, out=sums[1, :, 1:])

    # Two upper bounds spare trying most sizes: the first run is a prefix that must fit, and n
    # runs hold at most n·L in all.
    prefix = (sums.max(axis=0) <= limit).sum(axis=1) - 1
    total = sums[:, :, k].max(axis=0)
    runs = np.maximum(-(-total // limit), 1)
    start = np.minimum(prefix, np.where(runs > 1, (k - 1) // np.maximum(runs - 1, 1), k))

    tiles = np.zeros(channels, np.int64)
    pending = np.ones(channels, bool)
    for tile in range(int(start.max()), 0, -1):
        rows = np.flatnonzero(pending & (start >= tile))
        if rows.size == 0:
            continue
        edges = np.append(np.arange(0, k, tile), k)
        inside = np.diff(sums[:, rows][:, :, edges], axis=2).max(axis=(0, 2)) <= limit
        tiles[rows[inside]] = tile
        pending[rows[inside]] = False
        if not pending.any():
            break
    return tiles


def type_bound_bits(k: int, input_bits: int, weight_bits: int, signed_inputs: bool) -> int:
    """The accumulator that K products need by their types alone, without a look at the weights.

    The least P with P >= alpha + log2(1 + 2^-alpha) + 1, alpha = log2 K + N + M - 1 - signed
    (A2Q, arXiv 2308.13504, equation 3), solved in integers: 2^(P-1) - 1 >= K·2^(N+M-1-signed).

    Args:
        k: Length of the dot product, at least 1.
        input_bits: N, at least 1.
        weight_bits: M, at least 1.
        signed_inputs: Whether one of the N bits is a sign.

    Raises:
        TypeError: A count is not an integer, or is a bool.
        ValueError: A count is below 1.
    """
    counts = {"k": k, "input_bits": input_bits, "weight_bits": weight_bits}
    for name, value in counts.items():
        if _integer(value, name) < 1:
            raise ValueError(f"{name}: expected at least 1, received {value}")
    largest = k << (input_bits + weight_bits - 1 - bool(signed_inputs))
    return int(largest).bit_length() + 1
