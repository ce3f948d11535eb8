"""sendbench: the benchmark for sending email."""

__version__ = "0.1.0"
