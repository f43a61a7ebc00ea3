"""`python -m sisu_pipeline.worker`: run a group of workers."""

from sisu_pipeline.worker.worker_group import main

if __name__ == "__main__":
    main()
