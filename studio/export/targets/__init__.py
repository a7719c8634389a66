"""Export formats, one file each: what a format stores, what runs there, how it is written."""
