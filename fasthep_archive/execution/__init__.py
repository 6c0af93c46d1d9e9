"""Plan, keys, store, scheduler, workers, record: from a checked workflow to its products."""
