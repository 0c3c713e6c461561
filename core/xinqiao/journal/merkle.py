"""RFC 6962 Merkle trees over leaf hashes: streaming roots, inclusion and consistency proofs, strict verification.

Everything streams: a root or a proof over millions of rows holds only O(log n) hashes in memory.
Verification follows RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Self

EMPTY_ROOT: Final = sha256(b"").digest()
_HASH_BYTES: Final = 32


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree of ``size`` leaves, kept as the roots of its complete subtrees, the largest first."""

    __slots__ = ("_nodes", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._nodes: list[bytes] = []

    @property
    def size(self) -> int:
        """How many leaves were added."""
        return self._size

    def add(self, leaf: bytes) -> None:
        """Append the leaf hash ``leaf``."""
        nodes, bits = self._nodes, self._size
        while bits & 1:
            leaf = sha256(b"\x01" + nodes.pop() + leaf).digest()
            bits >>= 1
        nodes.append(leaf)
        self._size += 1

    def root(self) -> bytes:
        """The RFC 6962 tree head of the leaves so far."""
        if not self._nodes:
            return EMPTY_ROOT
        root = self._nodes[-1]
        for node in reversed(self._nodes[:-1]):
            root = node_hash(node, root)
        return root

    def copy(self) -> "Frontier":
        """An independent frontier over the same leaves."""
        twin = Frontier()
        twin._size, twin._nodes = self._size, self._nodes.copy()
        return twin

    def to_bytes(self) -> bytes:
        """Eight bytes of size, then the 32-byte subtree roots."""
        return self._size.to_bytes(8, "big") + b"".join(self._nodes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of ``to_bytes``. Raises ValueError when ``data`` cannot be a frontier."""
        size = int.from_bytes(data[:8], "big")
        if len(data) < 8 or len(data) != 8 + _HASH_BYTES * size.bit_count():
            raise ValueError("these bytes are not a Merkle frontier: the length does not fit the size")
        frontier = cls()
        frontier._size = size
        frontier._nodes = [data[at : at + _HASH_BYTES] for at in range(8, len(data), _HASH_BYTES)]
        return frontier


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The tree head over the leaf hashes ``leaves``."""
    frontier = Frontier()
    for item in leaves:
        frontier.add(item)
    return frontier.root()


def inclusion_proof(leaves: Iterable[bytes], index: int, size: int) -> list[bytes]:
    """The audit path of leaf ``index`` (from 0) in the tree of the first ``size`` leaf hashes of ``leaves``.

    Raises ValueError when the index is outside the tree or ``leaves`` ends early.
    """
    if not 0 <= index < size:
        raise ValueError("an inclusion proof needs 0 <= index < size")
    ranges: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return _range_roots(leaves, ranges[::-1])


def consistency_proof(leaves: Iterable[bytes], size1: int, size2: int) -> list[bytes]:
    """The proof that the first ``size1`` leaves are a prefix of the first ``size2``.

    Raises ValueError unless ``0 < size1 <= size2``, and when ``leaves`` ends early.
    """
    if not 0 < size1 <= size2:
        raise ValueError("a consistency proof needs 0 < size1 <= size2")
    ranges: list[tuple[int, int]] = []
    start, end, whole = 0, size2, True
    while end != size1:
        middle = start + _split(end - start)
        if size1 <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, end))
    return _range_roots(leaves, ranges[::-1])


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows the leaf hash ``leaf`` at ``index`` in the tree (``size``, ``root``)."""
    if not 0 <= index < size or not _all_hashes(leaf, root, *proof):
        return False
    low, high, node = index, size - 1, leaf
    for sibling in proof:
        if high == 0:
            return False
        if low & 1 or low == high:
            node = node_hash(sibling, node)
            while not low & 1 and low:
                low, high = low >> 1, high >> 1
        else:
            node = node_hash(node, sibling)
        low, high = low >> 1, high >> 1
    return high == 0 and node == root


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that tree (``size1``, ``root1``) is a prefix of tree (``size2``, ``root2``).

    The empty tree (``size1 == 0``) is refused: it is a prefix of everything, so a proof about it says nothing.
    """
    if not 0 < size1 <= size2 or not _all_hashes(root1, root2, *proof):
        return False
    if size1 == size2:
        return not proof and root1 == root2
    path = [root1, *proof] if size1.bit_count() == 1 else list(proof)
    if not proof:
        return False
    low, high = size1 - 1, size2 - 1
    while low & 1:
        low, high = low >> 1, high >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if high == 0:
            return False
        if low & 1 or low == high:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not low & 1 and low:
                low, high = low >> 1, high >> 1
        else:
            new = node_hash(new, sibling)
        low, high = low >> 1, high >> 1
    return high == 0 and old == root1 and new == root2


def _split(size: int) -> int:
    """The largest power of two below ``size`` (which is at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _all_hashes(*values: bytes) -> bool:
    return all(len(value) == _HASH_BYTES for value in values)


def _range_roots(leaves: Iterable[bytes], ranges: list[tuple[int, int]]) -> list[bytes]:
    """The subtree root of each of the disjoint half-open ``ranges``, in their order, in one pass over ``leaves``."""
    todo = sorted(ranges)
    roots: dict[tuple[int, int], bytes] = {}
    frontier, at = Frontier(), 0
    for position, item in enumerate(leaves):
        if at == len(todo):
            break
        start, end = todo[at]
        if position >= start:
            frontier.add(item)
        if position + 1 == end:
            roots[todo[at]] = frontier.root()
            frontier, at = Frontier(), at + 1
    if at < len(todo):
        raise ValueError("the tree has fewer leaves than the proof needs")
    return [roots[each] for each in ranges]
