"""Training: one loop, one optimizer and one pure step for every task.

`runs` passes in the data, the evaluators and the writers; nothing here depends
on where batches come from or on how samples are made.
"""
