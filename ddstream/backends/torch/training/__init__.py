"""Trainings: steps, tests, checkpoints, and the processes that share them."""
