"""python -m goroutines run ..."""

from .cli import main

main()
