"""The state of a GPU while something runs on it, by NVML or, on a Jetson, tegrastats."""
