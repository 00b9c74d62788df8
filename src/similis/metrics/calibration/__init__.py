"""Measures of predicted probabilities against outcomes; importing this registers them."""

from similis.metrics.calibration import binned
from similis.metrics.calibration.binned import Curve, reliability_curve

__all__ = ["Curve", "binned", "reliability_curve"]
