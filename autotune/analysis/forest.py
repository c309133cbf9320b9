"""A random forest over settings, and what each column is worth to it (Breiman 2001).

Regression trees (CART, least squares) on bootstrap samples, every column tried at every node. All
trees grow together, level by level: columns hold few values, so a node's best cut comes from
counts per value, and NumPy counts for all nodes at once. Each tree is judged by the rows it has not
seen: a column's importance is how much of their squared error its shuffling adds (Breiman 2001,
section 10).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

TREES: Final = 100
LEAST_IN_LEAF: Final = 2
"""Different rows that a leaf holds."""

MOST_VALUES: Final = 64
"""Values of a column that are told apart; more are cut into as many groups of equal size."""

_NOTHING: Final = 1e-12
"""Share of the targets' squares under which a gain is rounding."""


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Trees as one array of nodes; the first nodes are the roots, in the order of the trees.

    Attributes:
        column: That a node asks for; -1 in a leaf.
        cut: Rows with a greater code go to the second child.
        child: Its first child; the second one is the next node.
        value: Mean of its targets.
        unseen: (trees, rows), where a tree has not seen a row.
    """

    column: Ints
    cut: Ints
    child: Ints
    value: Floats
    unseen: NDArray[np.bool_]

    def predict(self, codes: Ints, trees: Ints) -> Floats:
        """What one tree says of one row, for so many pairs of them.

        Args:
            codes: A row for each pair.
            trees: Its tree.
        """
        node = trees.copy()
        going = np.flatnonzero(self.column[node] >= 0)
        while going.size:
            at = node[going]
            beyond = codes[going, self.column[at]] > self.cut[at]
            node[going] = at = self.child[at] + beyond
            going = going[self.column[at] >= 0]
        return self.value[node]


def codes_of(features: Floats) -> Ints:
    """Each column by the rank of its values, or by `MOST_VALUES` groups of them."""
    return np.column_stack([_codes(column) for column in features.T])


def grow(codes: Ints, targets: Floats, random: np.random.Generator) -> Forest:
    """Fit a forest of `TREES` trees.

    Args:
        codes: (rows, columns), small whole numbers.
        targets: Of each row.
        random: Draws the bootstrap samples, and lots between cuts of equal gain.
    """
    rows = len(targets)
    drawn = random.multinomial(rows, np.full(rows, 1 / rows), size=TREES)
    tree, row = np.nonzero(drawn)
    level = _Level(node=tree, row=row, weight=drawn[tree, row].astype(float), nodes=TREES, first=0)
    parts: list[_Cuts] = []
    least_gain = _NOTHING * float(np.sum(targets**2))
    while level.nodes:
        cuts = _cuts(level, codes, targets, random, least_gain)
        parts.append(cuts)
        level = _next(level, cuts, codes)
    return Forest(
        column=np.concatenate([p.column for p in parts]),
        cut=np.concatenate([p.cut for p in parts]),
        child=np.concatenate([p.child for p in parts]),
        value=np.concatenate([p.value for p in parts]),
        unseen=drawn == 0,
    )


def known_share(forest: Forest, codes: Ints, targets: Floats) -> float:
    """Out-of-bag R2: each row's variance that the trees explain which have not seen it."""
    tree, row = np.nonzero(forest.unseen)
    told = np.bincount(row, forest.predict(codes[row], tree), len(targets))
    asked = np.bincount(row, minlength=len(targets))
    heard = asked > 0
    errors = (told[heard] / asked[heard] - targets[heard]) ** 2
    about = (targets[heard] - targets[heard].mean()) ** 2
    return float(1 - errors.sum() / about.sum())


def losses(forest: Forest, codes: Ints, targets: Floats, random: np.random.Generator) -> Floats:
    """Squared error that shuffling a column adds, over all trees and the rows they have not seen.

    Args:
        forest: As grown on these rows.
        codes: (rows, columns).
        targets: Of each row.
        random: Shuffles each column anew within each tree.
    """
    tree, row = np.nonzero(forest.unseen)  # in the order of the trees
    asked, wanted = codes[row], targets[row]
    base = np.sum((forest.predict(asked, tree) - wanted) ** 2)
    found = np.zeros(codes.shape[1])
    for column in range(codes.shape[1]):
        shuffled = asked.copy()
        order = np.lexsort((random.random(len(tree)), tree))
        shuffled[:, column] = asked[order, column]
        found[column] = np.sum((forest.predict(shuffled, tree) - wanted) ** 2) - base
    return found


@dataclass(frozen=True, kw_only=True)
class _Level:
    """Nodes of one depth in all trees, and the rows in them.

    Attributes:
        node: Of each entry, from 0 within the level.
        row: Of each entry.
        weight: How often the tree drew it.
        nodes: How many there are.
        first: Number of the first among all nodes.
    """

    node: Ints
    row: Ints
    weight: Floats
    nodes: int
    first: int


@dataclass(frozen=True, kw_only=True)
class _Cuts:
    """A level's nodes, as `Forest` holds them."""

    column: Ints
    cut: Ints
    child: Ints
    value: Floats


def _codes(column: Floats) -> Ints:
    values, codes = np.unique(column, return_inverse=True)
    if len(values) <= MOST_VALUES:
        return codes
    bounds = np.quantile(column, np.linspace(0, 1, MOST_VALUES + 1)[1:-1])
    return np.searchsorted(np.unique(bounds), column)


def _cuts(
    level: _Level, codes: Ints, targets: Floats, random: np.random.Generator, least_gain: float
) -> _Cuts:
    """The cut of each node that leaves the least squared error; a leaf where none gains."""
    nodes, node = level.nodes, level.node
    weighted = level.weight * targets[level.row]
    weight, total = (np.bincount(node, of, nodes) for of in (level.weight, weighted))
    best = np.full(nodes, least_gain)
    column, cut = np.full(nodes, -1), np.zeros(nodes, dtype=np.intp)
    for number in range(codes.shape[1]):
        code = codes[level.row, number]
        values = int(codes[:, number].max()) + 1
        if values == 1:
            continue
        cell = node * values + code
        having, left, summed = (
            np.cumsum(np.bincount(cell, of, nodes * values).reshape(nodes, values), axis=1)
            for of in (None, level.weight, weighted)
        )
        allowed = (having >= LEAST_IN_LEAF) & (having[:, -1:] - having >= LEAST_IN_LEAF)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = summed**2 / left + (total[:, None] - summed) ** 2 / (weight[:, None] - left)
        gain = np.where(allowed, gain - (total**2 / weight)[:, None], 0.0)
        where = np.argmax(gain, axis=1)
        # Columns that say the same share the cuts among them instead of the first taking all.
        found = gain[np.arange(nodes), where] * (1 + 1e-9 * random.random(nodes))
        better = found > best
        best[better], column[better], cut[better] = found[better], number, where[better]
    inner = column >= 0
    child = np.full(nodes, -1)
    child[inner] = level.first + nodes + 2 * np.arange(np.count_nonzero(inner))
    return _Cuts(column=column, cut=cut, child=child, value=total / weight)


def _next(level: _Level, cuts: _Cuts, codes: Ints) -> _Level:
    """The children of a level; entries of its leaves are done."""
    inner = cuts.column[level.node] >= 0
    node, row = level.node[inner], level.row[inner]
    beyond = codes[row, cuts.column[node]] > cuts.cut[node]
    first = level.first + level.nodes
    return _Level(
        node=cuts.child[node] - first + beyond,
        row=row,
        weight=level.weight[inner],
        nodes=2 * int(np.count_nonzero(cuts.column >= 0)),
        first=first,
    )
