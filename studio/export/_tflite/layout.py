"""How a tensor of the program lies in the file, where channels come last.

A tensor's values, read in the program's order, are cut into atoms (sizes, outermost first); a layout
names the atoms and the order in which the file has them. Channels last of (1, 3, 8, 8) is atoms (3, 64)
in the order (1, 0). A batch of 1 and other axes of size 1 leave no atom; the batch stays first always.
Reshapes keep a layout, so that a flatten in front of a linear layer moves nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]
Axes = tuple[int | None, ...]
"""Axes of the program in the file's order; None is an axis of size 1 that only the file has."""


@dataclass(frozen=True)
class Layout:
    """Atoms in the program's order, and which atom the file has at each place; always in lowest terms."""

    atoms: Shape
    order: Shape

    @staticmethod
    def of(atoms: Sequence[int], order: Sequence[int]) -> Layout:
        """Layout in lowest terms: atoms of size 1 vanish, atoms that stay neighbours are one."""
        kept = [i for i, size in enumerate(atoms) if size > 1]
        place = {atom: i for i, atom in enumerate(kept)}
        sizes = [atoms[i] for i in kept]
        places = [place[atom] for atom in order if atom in place]
        runs: list[list[int]] = []
        for atom in places:
            if runs and runs[-1][-1] + 1 == atom:
                runs[-1].append(atom)
            else:
                runs.append([atom])
        rank = {run[0]: i for i, run in enumerate(sorted(runs))}
        return Layout(
            tuple(math.prod(sizes[atom] for atom in run) for run in sorted(runs)), tuple(rank[run[0]] for run in runs)
        )

    @property
    def plain(self) -> bool:
        """True where the file has the values in the program's order."""
        return len(self.atoms) <= 1

    @property
    def stored(self) -> Shape:
        """Sizes of the atoms in the file's order."""
        return tuple(self.atoms[i] for i in self.order)


def plain(shape: Sequence[int]) -> Layout:
    """Layout of a tensor that the file has in the program's order."""
    return Layout.of([math.prod(shape)], [0])


def of_axes(shape: Shape, axes: Axes) -> Layout:
    """Layout of a tensor whose axes the file has in another order: (1, 3, 8, 8), (0, 2, 3, 1) = channels last."""
    return Layout.of(shape, [axis for axis in axes if axis is not None])


def dimensions(shape: Shape, axes: Axes) -> Shape:
    """Shape in the file: (1, 3, 8), (0, None, 2, 1) -> (1, 1, 8, 3)."""
    return tuple(1 if axis is None else shape[axis] for axis in axes)


def channels_last(rank: int) -> Axes:
    """Axes of a tensor with channels on axis 1; one spatial axis becomes two, the first of size 1."""
    known: dict[int, Axes] = {4: (0, 2, 3, 1), 3: (0, None, 2, 1)}
    return known.get(rank, tuple(range(rank)))


def refined(layout: Layout, sizes: Sequence[int]) -> Layout | None:
    """Return the layout with atoms cut at the borders of `sizes` too, not in lowest terms; None where they cross."""
    borders = sorted({*_borders(layout.atoms), *_borders(sizes)})
    if any(above % below for below, above in itertools.pairwise(borders)):
        return None
    inner = _borders(layout.atoms)  # of each atom's inner end, outermost atom first
    parts: list[list[int]] = [[] for _ in layout.atoms]
    cut = list(reversed(borders))
    atoms: list[int] = []
    for above, below in itertools.pairwise(cut):
        owner = next(i for i, end in enumerate(inner[1:]) if end <= below)
        parts[owner].append(len(atoms))
        atoms.append(above // below)
    return Layout(tuple(atoms), tuple(atom for i in layout.order for atom in parts[i]))


def _borders(sizes: Sequence[int]) -> list[int]:
    """Products from the inside: (3, 8, 8) -> [192, 64, 8, 1]."""
    return [math.prod(sizes[i:]) for i in range(len(sizes) + 1)]


def move(source: Layout, target: Layout) -> tuple[Shape, Shape] | None:
    """Shape and axis order of the transposition from one layout to the other; None where they cross.

    The shape is that of the source's values in the file: channels last to plain of (1, 3, 8, 8) is
    ((64, 3), (1, 0)).
    """
    first, second = refined(source, target.atoms), refined(target, source.atoms)
    if first is None or second is None:
        return None
    place = {atom: i for i, atom in enumerate(first.order)}
    return first.stored, tuple(place[atom] for atom in second.order)


def transposed(layout: Layout, shape: Shape, order: Sequence[int]) -> Layout | None:
    """Layout of the same stored values for a program tensor whose axes are put in another order.

    shape: of the tensor before; None where an atom of the layout crosses an axis.
    """
    fine = refined(layout, shape)
    if fine is None:
        return None
    groups = _groups(fine.atoms, shape)
    sequence = [atom for axis in order for atom in groups[axis]]
    place = {atom: i for i, atom in enumerate(sequence)}
    return Layout.of([fine.atoms[atom] for atom in sequence], [place[atom] for atom in fine.order])


def _groups(atoms: Shape, shape: Shape) -> list[list[int]]:
    """Atoms of each axis."""
    groups, at = [], 0
    for size in shape:
        group: list[int] = []
        while math.prod(atoms[i] for i in group) < size:
            group.append(at)
            at += 1
        groups.append(group)
    return groups
