"""What approximate indexes would gain and lose on a collection: measured, and recommended or not."""
