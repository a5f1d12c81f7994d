"""Make seamless gray texture tiles and sample them in integer arithmetic.

Once a tile is made, only integers and table look-ups are used: a scene is equal on
every machine, and a look-up costs a few nanoseconds per pixel.
"""
from functools import lru_cache

import numpy as np

TILE = 256  # A power of two: wrapping around is a bit mask.
_FIXED = 1 << 12


@lru_cache(maxsize=8)
def tile(texture: str) -> np.ndarray:
    """(256, 256) uint8 brightness of one repeat of a texture."""
    step = (np.arange(TILE) + 0.5) / TILE
    u, v = step[None, :], step[:, None]
    if texture == 'striped':
        values = _soft(np.sin(2 * np.pi * 4 * u) + 0 * v, 3)
    elif texture == 'checked':
        values = _soft(np.sin(2 * np.pi * 2 * u) * np.sin(2 * np.pi * 2 * v), 6)
    elif texture == 'dotted':
        waves = np.cos(2 * np.pi * 4 * u) + np.cos(2 * np.pi * 4 * v)
        values = _soft(waves - 0.45, 4)
    elif texture == 'cloudy':
        values = _clouds(octaves=(2, 4, 8, 16, 32))
    else:
        values = 0.5 + 0.5 * (_clouds(octaves=(16, 32, 64)) - 0.5)
    return np.round(values * 255).astype(np.uint8)


def sample_tile(texture: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Brightness of a texture at positions (u, v); one repeat is one unit long.

    Args:
        u, v: int32 arrays that broadcast to (H, W), in 1 / ``4096`` tile pixels, as
            :func:`to_fixed` makes them.

    Returns:
        (H, W) uint8.
    """
    column = (u >> 12) & (TILE - 1)
    row = (v >> 12) & (TILE - 1)
    return tile(texture).ravel()[row * TILE + column]


def to_fixed(repeats: float | np.ndarray) -> int | np.ndarray:
    """Lengths in texture repeats as the integers that :func:`sample_tile` reads."""
    fixed = np.rint(np.asarray(repeats) * (TILE * _FIXED)).astype(np.int32)
    return fixed if fixed.ndim else int(fixed)


@lru_cache(maxsize=32)
def noise_tiles(size: int, strength: int) -> tuple[np.ndarray, np.ndarray]:
    """Camera noise as two uint8 images: what it adds and what it subtracts.

    Args:
        size: Side of the scene; the tiles are ``NOISE_SHIFTS`` pixels larger, so that
            scenes can read them at different offsets.
        strength: Standard deviation in gray levels.
    """
    side = size + NOISE_SHIFTS
    uniform = np.random.default_rng(strength).random((4, side, side, 3))
    # The sum of four uniforms is near enough to a Gaussian, and free of libm.
    normal = (uniform.sum(axis=0) - 2) * (3 ** 0.5)
    levels = np.rint(normal * strength)
    return (np.clip(levels, 0, 255).astype(np.uint8),
            np.clip(-levels, 0, 255).astype(np.uint8))


NOISE_SHIFTS = 32


def _soft(waves: np.ndarray, sharpness: float) -> np.ndarray:
    """Waves around 0 as a pattern in [0, 1] with slightly soft edges."""
    return np.clip(0.5 + 0.5 * sharpness * waves, 0, 1)


def _clouds(octaves: tuple[int, ...]) -> np.ndarray:
    """Smooth seamless noise in [0, 1]: random grids, ever finer and fainter."""
    rng = np.random.default_rng(0)
    total = sum(_smooth_grid(rng.random((n, n))) / n ** 0.8 for n in octaves)
    low, high = np.percentile(total, [1, 99])
    return np.clip((total - low) / (high - low), 0, 1)


def _smooth_grid(grid: np.ndarray) -> np.ndarray:
    """A small periodic grid, interpolated to a whole tile."""
    n = len(grid)
    position = np.arange(TILE) * n / TILE
    cell = position.astype(int)
    share = position - cell
    share = share * share * (3 - 2 * share)
    rows = (grid[cell] * (1 - share)[:, None]
            + grid[(cell + 1) % n] * share[:, None])
    return rows[:, cell] * (1 - share) + rows[:, (cell + 1) % n] * share
