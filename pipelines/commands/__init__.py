"""Commands about recordings, recipes, labels and the store; others lie with what they speak of, as `pipelines.queue.cli`."""
