"""OpenMM's algebraic expression language: parsed, evaluated on tensors, recognised."""
