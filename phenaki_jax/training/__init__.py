"""Train either model: one loop, one optimizer, and a pure step per model.

`runs` passes in the data, the evaluators and the writers; nothing here depends
on where batches come from or on how samples are made.
"""
