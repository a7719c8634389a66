"""Techniques, one file each: declared settings and a pure function on encodings."""
