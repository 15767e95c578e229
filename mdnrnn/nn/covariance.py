"""Names of the covariance structures of mixture components; importing this module does not import torch."""

from typing import Literal

Covariance = Literal["diagonal", "full", "isotropic", "shared", "per-dimension"]
"""Covariance structure of the components.

"diagonal": one variance per dimension. "full": full matrix. "isotropic": one variance for all dimensions. "shared": one
diagonal matrix shared by all components. "per-dimension": an independent univariate mixture in each dimension.
"""
StepCovariance = Literal["diagonal", "full", "per-dimension"]
"""Covariance structures that are available for the motion of a time step; see `Covariance`."""
