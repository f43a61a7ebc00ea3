"""`python -m sisu_pipeline.worker`: run a group of workers."""

from sisu_pipeline.worker.worker_process import main

if __name__ == "__main__":
    main()
