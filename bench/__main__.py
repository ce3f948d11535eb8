"""`python -m bench` is `sendbench`."""

from bench.cli import main

main()
