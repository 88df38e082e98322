"""Train either model: one loop, one optimizer, and a pure step per model.

`cli` hands in the data, the evaluators and the writers; nothing here knows
where batches come from or what a sample looks like.
"""
