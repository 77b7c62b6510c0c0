"""Is the challenger better? Use it as `from retrain_trigger.judge import gates`, then `gates.proof`: NumPy loads then."""

from typing import TYPE_CHECKING

from retrain_trigger.core.doors import opening

__all__ = ["bootstrap", "gates", "proof", "slices"]

if TYPE_CHECKING:
    from retrain_trigger.judge.gates import bootstrap, gates, proof, slices
else:
    __getattr__ = opening(__name__, __all__)
