"""How tensors lie in a channels-last file: numpy moves the same values."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from studio.export._tflite import layout as lay


@st.composite
def orders(draw, count=1):
    shape = (1, *draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    axes = list(range(1, len(shape)))
    return shape, *((0, *draw(st.permutations(axes))) for _ in range(count))


def values(shape):
    return np.arange(math.prod(shape)).reshape(shape)


def stored(layout, x):
    """Values in the order of the file."""
    return x.reshape(layout.atoms).transpose(layout.order).ravel().tolist()


@given(orders())
def test_axes_in_another_order(case):
    shape, axes = case
    x = values(shape)
    assert stored(lay.of_axes(shape, axes), x) == x.transpose(axes).ravel().tolist()


@given(orders(2))
def test_a_transposed_view_has_the_same_stored_values(case):
    shape, axes, order = case
    layout, x = lay.of_axes(shape, axes), values(shape)
    view = lay.transposed(layout, shape, order)
    assert stored(view, np.ascontiguousarray(x.transpose(order))) == stored(layout, x)


@given(orders(2))
def test_a_move_gives_the_wanted_order(case):
    shape, axes, wanted = case
    source, target, x = lay.of_axes(shape, axes), lay.of_axes(shape, wanted), values(shape)
    sizes, order = lay.move(source, target)
    moved = np.array(stored(source, x)).reshape(sizes).transpose(order)
    assert moved.ravel().tolist() == stored(target, x)
    assert (source == target) == (sorted(order) == list(order))


def test_lowest_terms():
    """Channels last of (1, 3, 8, 8): one block of channels, one of places; of one channel or place: nothing to move."""
    assert lay.of_axes((1, 3, 8, 8), (0, 2, 3, 1)) == lay.Layout((3, 64), (1, 0))
    assert lay.of_axes((1, 1, 8, 8), (0, 2, 3, 1)) == lay.plain((1, 1, 8, 8)) == lay.Layout((64,), (0,))
    assert lay.of_axes((1, 3, 1, 1), (0, 2, 3, 1)).plain


def test_what_crosses_has_no_direct_way():
    """Six channels as 2 x 3 and as 3 x 2 share no atoms."""
    turned = lay.Layout.of((2, 3), (1, 0))
    assert lay.move(turned, lay.Layout.of((3, 2), (1, 0))) is None
    assert lay.move(turned, lay.plain((6,))) == ((3, 2), (1, 0))
    assert lay.transposed(turned, (1, 3, 2), (0, 2, 1)) is None


def test_channel_shuffle_moves_two_blocks():
    """(1, 6, 4) channels last, seen as (1, 2, 3, 4), turned, seen as (1, 6, 4): channels alone change places."""
    layout = lay.of_axes((1, 6, 4), (0, 2, 1))
    turned = lay.transposed(layout, (1, 2, 3, 4), (0, 2, 1, 3))
    assert turned == lay.Layout((3, 2, 4), (2, 1, 0))
    assert lay.move(turned, layout) == ((4, 2, 3), (0, 2, 1))


def test_one_spatial_axis_becomes_two():
    axes = lay.channels_last(3)
    assert lay.dimensions((1, 3, 8), axes) == (1, 1, 8, 3)
    assert lay.channels_last(2) == (0, 1)
