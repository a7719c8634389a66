"""Writing `model.ecs`, byte for byte as `FORMAT.md` beside this file says."""
