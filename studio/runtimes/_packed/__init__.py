"""Reading `model.ecs`, byte for byte as `studio/export/_packed/FORMAT.md` says."""
