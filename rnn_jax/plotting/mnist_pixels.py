"""Table of networks that read MNIST pixel by pixel."""

from collections.abc import Sequence

from rnn_jax.plotting.tables import markdown

SEQUENCES = "pixels", "permuted-pixels"
PUBLISHED = {"rnn": ("21.5%", "25.3%"), "gru": ("96.2%", "87.3%")}
PUBLISHED |= {"lstm": ("87.2%", "85.7%"), "irnn": ("97%", "82%")}
"""Published test accuracies, in order and permuted, after full training. IRNN with 100 units: Le,
Jaitly, Hinton (2015); others, with about 70,000 parameters: Bai, Kolter, Koltun (2018)."""
EPOCH = 60_000
"""Training examples of MNIST."""


def summary(rows: Sequence[dict]) -> list[str]:
    """Format a Markdown table with a row for each cell trained on MNIST pixel by pixel."""
    columns = "cell", "flags", "epochs", "in order", "permuted", "training [s]"
    columns += "published, in order", "published, permuted"
    cells, lines = {}, []
    for row in rows:
        cells.setdefault(row["cell"], {})[row["sequence"]] = row
    for cell, found in cells.items():
        both = [found[name] for name in SEQUENCES]
        flags = f"`--init {both[0]['init']} --learning-rate {both[0]['learning_rate']}`"
        epochs = f"{both[0]['examples'] / EPOCH:.1f}"
        accuracies = [f"{row['test_accuracy']:.2%}" for row in both]
        seconds = " ".join(f"{row['train_seconds']:.0f}" for row in both)
        others = PUBLISHED.get(cell, ("-", "-"))
        lines.append([cell, flags, epochs, *accuracies, seconds, *others])
    return markdown(columns, lines)
