"""Names of the covariance structures of a mixture component; this module does not import torch."""

from typing import Literal

Covariance = Literal["diagonal", "full", "isotropic", "shared", "per-dimension"]
"""Covariance structure: one variance per dimension; full matrix; one variance for all dimensions; one diagonal shared
by all components; or an independent univariate mixture in each dimension."""
StepCovariance = Literal["diagonal", "full", "per-dimension"]
"""Covariance structures of the motion of a time step."""
