"""The second target of kernels: CUDA C, for NVIDIA's GPUs."""
