"""Published networks' layers over compiled functions that this machine does not have, written from facts.

`gpu` stands for the machine: with it the compiled functions compute, step by step and in plain PyTorch;
without it they raise what the real ones raise on a CPU tensor.
"""
