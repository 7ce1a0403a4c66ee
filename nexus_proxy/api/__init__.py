"""HTTP in: the front that every request passes, the hot routes, and Quart for everything else."""
