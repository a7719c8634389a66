"""Content keys of operators and networks: equal keys, equal results."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

from studio.network.network import Network
from studio.network.operators import Operator

_KEYS: WeakKeyDictionary[Operator, str] = WeakKeyDictionary()
_NETWORKS: WeakKeyDictionary[Network, str] = WeakKeyDictionary()


def operator_key(operator: Operator) -> str:
    """Return sha256 over kind, settings and tensors; computed once, for operators are never edited."""
    if operator not in _KEYS:
        digest = hashlib.sha256(f"{operator.kind} {sorted(operator.settings().items())}".encode())
        for name, tensor in sorted(operator.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        _KEYS[operator] = digest.hexdigest()
    return _KEYS[operator]


def weights_key(network: Network) -> str:
    """Return sha256 over all nodes of a network: names, inputs, operators; computed once, as of operators."""
    if network not in _NETWORKS:
        digest = hashlib.sha256()
        for node in network.nodes:
            digest.update(f"{node.name} {node.inputs} {operator_key(node.operator)}".encode())
        _NETWORKS[network] = digest.hexdigest()
    return _NETWORKS[network]
