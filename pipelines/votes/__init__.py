"""From votes to what they agree on."""
