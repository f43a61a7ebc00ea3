"""What the API process keeps between requests: connections, the change feed, batches."""
