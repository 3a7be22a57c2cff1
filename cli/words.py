"""How the command line writes figures."""


def seconds(value: float) -> str:
    """A duration: 0.28 s, 3.1 s, 48.0 s."""
    return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
