"""The look of the book's figures: readable on light and on dark pages alike.

Figures are transparent SVG with text that can be selected; pictures stand in them with
their own pixels. The same data gives the same bytes. The colours can be told apart, also
by the colour-blind, and nothing is said by colour alone; one method has one colour in
the whole book (:func:`colour_of`). The site lightens them on dark pages.

Each function returns a :class:`Plot`, which a notebook shows if it is the last line of a
cell; ``.caption("…")`` says what is seen. For figures of your own call ``use_style()``
once, then ``subplots()``. Importing this module changes no setting.
"""

from .clips import show_clips
from .colours import (
    BLUE,
    BROWN,
    COLOURS,
    INDIGO,
    INK,
    MAGENTA,
    MARKERS,
    METHODS,
    OLIVE,
    TEAL,
    VERMILION,
    VIOLET,
    colour_of,
    colours_of,
    look_of,
)
from .curves import plot_comparison, plot_history
from .diagrams import draw_flow
from .figure import Plot, subplots
from .fusions import draw_fusions
from .graphs import draw_graph
from .pictures import show_attention, show_images
from .style import TILES, WIDTH, use_style
from .tables import Table, plot_confusion, plot_matrix, table
