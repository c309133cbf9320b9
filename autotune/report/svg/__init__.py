"""Plots as plain SVG, drawn in Python and styled by the page.

Plotly's script alone is 4 to 5 MB; these plots are a few kilobytes each, work without a script,
print, and scale. Colours come from CSS classes, so that light and dark are one drawing.
"""
