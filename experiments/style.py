"""The style of figures that Python draws: colours, grid and letters of the figures of `compare` and of
the page (crates/report/src/palette.rs, crates/view/assets/basis.js). A test holds the colours together.
"""

# Okabe and Ito, without the yellow; the first is ParetoPO's alone.
COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"]
GRID = "#e8ebf0"
AXIS = "#5d6677"


def apply(matplotlib):
    matplotlib.rcParams.update({
        "axes.prop_cycle": matplotlib.cycler(color=COLOURS[1:]),
        "axes.edgecolor": AXIS,
        "axes.labelcolor": AXIS,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "font.family": "sans-serif",
        "font.size": 9,
        "grid.color": GRID,
        "lines.linewidth": 1.6,
        "lines.markersize": 4.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "paretopo",
        "xtick.color": AXIS,
        "ytick.color": AXIS,
    })
