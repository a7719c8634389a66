"""Training jobs, one file each: the folder is the registry. They run in a process of their own."""
