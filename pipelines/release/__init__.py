"""Training sets: immutable, versioned, without leaks."""
