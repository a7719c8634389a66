"""Low rank on a network: moments once, then each layer's form, ranks and factors, all kept by content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from studio.core.errors import DataError, Refused
from studio.network.content import operator_key, weights_key
from studio.network.network import Network, Node
from studio.techniques._factor import Problem, composed, factors
from studio.techniques._factored_nodes import factor_nodes, weight_of, with_factors
from studio.techniques._input_moments import Moments, input_moments
from studio.techniques._ranks import Spectrum, choose, spectrum_of
from studio.techniques._rewrite import RewriteContext
from studio.techniques.low_rank import forms_of


def rewritten(network: Network, work: Mapping[str, Any], context: RewriteContext) -> Network:
    """Return the network with each layer of `work` (settings by name) as its factors, where they hold less."""
    problems = _problems(network, work, context)
    made = {name: _nodes(network.by_name[name], problems[name], work[name], context) for name in work}
    return with_factors(network, {name: nodes for name, nodes in made.items() if nodes})


def layer_spectrum(network: Network, name: str, settings: Any, context: RewriteContext) -> Spectrum:
    """Singular values that the settings cut on one layer, seen as the factors are: through samples where asked."""
    problem = _problems(network, {name: settings}, context)[name]
    return spectrum_of(problem, forms_of(problem.weight.shape, settings.form), settings.keep, settings.rule)


def _nodes(node: Node, problem: Problem, settings: Any, context: RewriteContext) -> list[Node]:
    """Factors of one layer; none where they would hold no fewer weights."""
    key = f"low_rank factors {problem.key} {settings.model_dump_json()}"
    made: list[Node] = context.remember(key, lambda: _made(node, problem, settings))
    return made


def _made(node: Node, problem: Problem, settings: Any) -> list[Node]:
    forms = forms_of(problem.weight.shape, settings.form)
    chosen = choose(problem, forms, settings.keep, settings.rule)
    if chosen is None:
        return []
    weights = factors(problem, *chosen)
    lost = problem.matrix - composed(weights).reshape(problem.matrix.shape)
    return factor_nodes(node, weights, chosen[0], None if problem.mean is None else lost @ problem.mean)


def sketched(network: Network, work: Mapping[str, Any], context: RewriteContext) -> Network | None:
    """Quick form: factors of the weights alone where no moments are in memory; None where all of them are."""
    unknown = [n for n in work if work[n].data_aware and context.recall(_key(network, n, work[n])) is None]
    if not unknown:
        return None
    plain = {name: work[name].model_copy(update={"data_aware": False}) for name in unknown}
    return rewritten(network, {**work, **plain}, context)


def _key(network: Network, name: str, settings: Any) -> str:
    """Content key of what is to be factored of a layer."""
    if settings.data_aware:
        return f"low_rank {weights_key(network)} {name} aware"
    return f"low_rank {operator_key(network.by_name[name].operator)}"


def _problems(network: Network, work: Mapping[str, Any], context: RewriteContext) -> dict[str, Problem]:
    """What is to be factored, by layer; one pass over the samples serves all that are not known yet."""
    keys = {name: _key(network, name, settings) for name, settings in work.items()}
    known: dict[str, Problem | None] = {name: context.recall(key) for name, key in keys.items()}
    fresh = [name for name in work if known[name] is None]
    moments = _moments(network, [name for name in fresh if work[name].data_aware], context)

    def problem(name: str) -> Problem:
        found = known[name] or _problem(network.by_name[name], keys[name], moments.get(name))
        kept: Problem = context.remember(keys[name], lambda: found)
        return kept

    return {name: problem(name) for name in work}


def _moments(network: Network, names: list[str], context: RewriteContext) -> Mapping[str, Moments]:
    """Moments of the layers' inputs; none where there are no samples: factors are then those of the weights alone."""
    try:
        batches = context.batches() if names else ()
    except DataError:
        return {}
    return input_moments(network, names, batches, context.tick) if names else {}


def _problem(node: Node, key: str, moments: Moments | None) -> Problem:
    weight = weight_of(node)
    if not np.isfinite(weight).all():
        remedy = "Take the step off this layer, or repair the model."
        raise Refused("the weights hold NaN or infinite values.", where=node.name, remedy=remedy)
    if moments is None:
        return Problem(key, weight, None, None)
    return Problem(key, weight, moments.root, moments.mean)
