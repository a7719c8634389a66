"""Plain frozen data: no torch, no screen."""
