"""`python -m sisu_pipeline.cli` is `sisu`."""

from sisu_pipeline.cli import main

main()
