"""`python -m sisu_pipeline.cli` runs `sisu`."""

from sisu_pipeline.cli import main

main()
