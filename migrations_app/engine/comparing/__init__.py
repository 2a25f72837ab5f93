"""Compares source and target: every row by a hash of its text, then where they differ, then everything else."""
