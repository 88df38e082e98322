"""Training: one loop, one optimizer and one pure step for every task.

`cli` hands in the data, the evaluators and the writers; nothing here knows
where batches come from or what a sample looks like.
"""
