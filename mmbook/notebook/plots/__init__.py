"""The look of the book's figures: readable on light and on dark pages alike.

Figures are transparent. Text and axes are of one grey that is readable on white and on
near-black; the colours of lines can be told apart on both, also by the colour-blind, and
nothing is said by colour alone. Curves are SVG, pictures PNG, both equal to the byte
whenever the same data is drawn again.

Each function returns a :class:`Plot`, which a notebook shows if it is the last line of a
cell. For figures of your own call ``use_style()`` once, then ``subplots()``. Importing
this module changes no setting.
"""

from .curves import plot_comparison, plot_history
from .diagrams import draw_flow, draw_graph
from .fusions import draw_fusions
from .pictures import show_attention, show_clips, show_images
from .style import (
    BLUE,
    COLOURS,
    INK,
    MAGENTA,
    MARKERS,
    TEAL,
    TILES,
    VERMILION,
    VIOLET,
    WIDTH,
    Plot,
    subplots,
    use_style,
)
from .tables import Table, plot_confusion, plot_matrix, table
