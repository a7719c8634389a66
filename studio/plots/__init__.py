"""Plots on axes that are given: the same drawing for desktop, notebook, command line and report.

Each module has `draw(axes, ...)`, which answers with an object whose `update(...)` changes what is
drawn without making the axes anew (for live use: run the layout once, then `set_layout_engine("none")`).
"""
