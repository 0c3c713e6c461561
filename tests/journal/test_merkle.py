"""RFC 6962 trees: known roots, foreign vectors, and every strictness the verifier promises."""

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.journal.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).parents[3] / "shared" / "data" / "merkle"
# The eight leaves of the Certificate Transparency reference tests, and the roots of their first n.
CT_LEAVES = [
    leaf_hash(bytes.fromhex(text))
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"leaf %d" % number) for number in range(count)]


def vectors(kind: str) -> list[Any]:
    paths = sorted((VECTORS / kind).rglob("*.json")) if VECTORS.is_dir() else []
    if not paths:
        return [pytest.param(None, marks=pytest.mark.skip(reason="the vectors are not here"))]
    return [pytest.param(json.loads(path.read_bytes()), id=f"{path.parent.name}/{path.stem}") for path in paths]


def decoded(vector: dict[str, Any]) -> list[bytes]:
    return [b64decode(item) for item in vector["proof"] or []]


@pytest.mark.parametrize("size", range(9))
def test_the_root_of_the_reference_leaves_is_the_published_one(size: int) -> None:
    assert root_of(CT_LEAVES[:size]).hex() == CT_ROOTS[size]


@pytest.mark.parametrize("vector", vectors("inclusion"))
def test_inclusion_vectors_are_accepted_or_refused_as_published(vector: dict[str, Any]) -> None:
    leaf, root = b64decode(vector["leafHash"]), b64decode(vector["root"])
    answer = verify_inclusion(vector["leafIdx"], vector["treeSize"], leaf, decoded(vector), root)
    assert answer is not vector["wantErr"]


@pytest.mark.parametrize("vector", vectors("consistency"))
def test_consistency_vectors_are_accepted_or_refused_as_published(vector: dict[str, Any]) -> None:
    root1, root2 = b64decode(vector["root1"]), b64decode(vector["root2"])
    answer = verify_consistency(vector["size1"], vector["size2"], root1, root2, decoded(vector))
    assert answer is not vector["wantErr"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 13, 16, 21])
def test_every_leaf_proves_its_place_and_no_other(size: int) -> None:
    tree = leaves(size)
    root = root_of(tree)
    for index in range(size):
        proof = inclusion_proof(tree, index, size)
        places = [place for place in range(size) if verify_inclusion(place, size, tree[index], proof, root)]
        assert places == [index]


@pytest.mark.parametrize("size2", [1, 2, 3, 6, 7, 8, 11, 16, 19])
def test_every_prefix_proves_its_consistency(size2: int) -> None:
    tree = leaves(size2)
    for size1 in range(1, size2 + 1):
        proof = consistency_proof(tree, size1, size2)
        assert verify_consistency(size1, size2, root_of(tree[:size1]), root_of(tree), proof)


@given(st.integers(2, 40), st.data())
def test_a_truncated_extended_or_bent_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    tree = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(tree, index, size), root_of(tree)
    at = data.draw(st.integers(0, len(proof) - 1))
    bent = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    for bad in (proof[:-1], proof[1:], [*proof, root], [*proof, b""], [*proof[:at], bent, *proof[at + 1 :]]):
        assert not verify_inclusion(index, size, tree[index], bad, root)


@given(st.integers(2, 40), st.data())
def test_a_changed_prefix_has_no_consistency_proof(size2: int, data: st.DataObject) -> None:
    tree = leaves(size2)
    size1 = data.draw(st.integers(1, size2 - 1))
    changed = data.draw(st.integers(0, size1 - 1))
    other = [*tree[:changed], sha256(b"other").digest(), *tree[changed + 1 :]]
    proof = consistency_proof(other, size1, size2)
    assert not verify_consistency(size1, size2, root_of(tree[:size1]), root_of(other), proof)


def test_the_empty_tree_proves_nothing() -> None:
    assert not verify_consistency(0, 1, EMPTY_ROOT, root_of(leaves(1)), [])


def test_a_proof_over_too_few_leaves_is_refused_at_making() -> None:
    with pytest.raises(ValueError, match="fewer leaves"):
        inclusion_proof(leaves(5), 1, 6)


@given(st.integers(0, 70), st.integers(0, 10))
def test_a_stored_frontier_goes_on_where_it_stopped(before: int, after: int) -> None:
    tree = leaves(before + after)
    frontier = Frontier()
    for leaf in tree[:before]:
        frontier.add(leaf)
    again = Frontier.from_bytes(frontier.to_bytes())
    for leaf in tree[before:]:
        again.add(leaf)
    assert (again.size, again.root()) == (before + after, root_of(tree))


@pytest.mark.parametrize("data", [b"", b"\0" * 7, (3).to_bytes(8, "big") + b"\0" * 32, b"\0" * 40])
def test_bytes_that_are_no_frontier_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a Merkle frontier"):
        Frontier.from_bytes(data)


def test_a_copy_of_a_frontier_does_not_grow_with_the_original() -> None:
    frontier = Frontier()
    frontier.add(leaves(1)[0])
    twin = frontier.copy()
    frontier.add(leaves(2)[1])
    assert (twin.size, frontier.root()) == (1, node_hash(*leaves(2)))
