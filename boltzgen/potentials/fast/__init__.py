"""The fast path: fused kernels with hand-derived gradients, blocks, memory, compilation."""
