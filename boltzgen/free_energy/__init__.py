"""Estimators: from ensembles to free energies with standard errors."""
